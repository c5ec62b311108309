//! The commands over files.
