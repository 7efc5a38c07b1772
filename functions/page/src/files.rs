//! The table of files that `build.rs` writes.

/// A file of `web/`.
pub(crate) struct File {
    /// The path of its address.
    pub(crate) url: &'static str,
    /// Its media type.
    pub(crate) kind: &'static str,
    /// Whether the process fills in placeholders at its start.
    pub(crate) is_template: bool,
    /// The file as it is.
    pub(crate) identity: &'static [u8],
    /// Compressed by brotli. Empty if that is not smaller.
    pub(crate) br: &'static [u8],
    /// Compressed by gzip. Empty if that is not smaller.
    pub(crate) gzip: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/files.rs"));
