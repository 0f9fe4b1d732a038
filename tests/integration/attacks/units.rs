//! The number of units is declared or paid for.
