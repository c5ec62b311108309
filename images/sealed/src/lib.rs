//! The sealed image: built from sources and one pinned kernel package, the same bytes every time,
//! and measured, so that a relying party can hold reference values for it.
//!
//! * [`deb`] and [`modules`] take kernel and modules out of Debian's package;
//! * [`cpio`] writes the initial RAM disk, [`erofs`] and [`verity`] the model's disk: formats small
//!   enough to write ourselves, so that no tool's version decides about a hash;
//! * [`recipe`] says what goes into an image, [`description`] what came out;
//! * [`pcr`] and [`measurement`] predict what hardware will measure;
//! * [`host`] says how to start it.
//!
//! Processes and files are under `io` and `commands`.

#![forbid(unsafe_code)]

pub mod commands;
pub mod cpio;
pub mod deb;
pub mod description;
pub mod difference;
pub mod erofs;
pub mod hash;
pub mod host;
pub mod initramfs;
pub mod io;
pub mod lock;
pub mod measurement;
pub mod modules;
pub mod pcr;
pub mod recipe;
pub mod verity;
