//! No real table is copied unless a person named it.
