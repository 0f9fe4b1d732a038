//! One intent, one release.
