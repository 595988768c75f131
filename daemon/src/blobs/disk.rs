//! Blobs as files of a local file system.
