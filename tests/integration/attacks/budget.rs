//! Budget belongs to a source of data, not to a folder.
