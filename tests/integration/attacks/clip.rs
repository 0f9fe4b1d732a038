//! No unit moves a sum by more than its noise pays for, however many rows it has.
