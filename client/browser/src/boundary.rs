//! What the page calls: five functions over linear memory.
//!
//! ```text
//! at = reserve(length); write the request there; length = appraise() (or audit(), or policies())
//! at = reply();         read that many bytes of JSON
//! ```
//! Rust owns both buffers all the time and hands out their addresses; the page reads and writes
//! between calls, when nothing in here runs. So there is no `unsafe` block: what is unsafe is only
//! to promise that these five names are taken by nobody else.

use std::cell::RefCell;

use crate::request::MAX_REQUEST_BYTES;
use crate::{appraisal, auditing, reply, trust};

/// The two buffers.
#[derive(Default)]
struct Desk {
    request: Vec<u8>,
    reply: Vec<u8>,
}

thread_local! {
    static DESK: RefCell<Desk> = RefCell::default();
}

/// Makes room for a request of `length` bytes and says where; null where it is too long.
#[unsafe(no_mangle)]
pub extern "C" fn reserve(length: usize) -> *mut u8 {
    if length > MAX_REQUEST_BYTES {
        return std::ptr::null_mut();
    }
    DESK.with_borrow_mut(|desk| {
        *desk = Desk { request: vec![0; length], reply: Vec::new() };
        desk.request.as_mut_ptr()
    })
}

/// Appraises the evidence in the request; returns the length of the reply.
#[unsafe(no_mangle)]
pub extern "C" fn appraise() -> usize {
    answer(|request| reply::to_json(&appraisal::appraise(request)))
}

/// Audits the bundle in the request; returns the length of the reply.
#[unsafe(no_mangle)]
pub extern "C" fn audit() -> usize {
    answer(|request| reply::to_json(&auditing::audit(request)))
}

/// Lists the built-in policies, whatever the request; returns the length of the reply.
#[unsafe(no_mangle)]
pub extern "C" fn policies() -> usize {
    answer(|_| reply::to_json(&trust::shipped()))
}

/// Where the reply of the last call begins.
#[unsafe(no_mangle)]
pub extern "C" fn reply() -> *const u8 {
    DESK.with_borrow(|desk| desk.reply.as_ptr())
}

fn answer(question: impl FnOnce(&[u8]) -> Vec<u8>) -> usize {
    DESK.with_borrow_mut(|desk| {
        let request = std::mem::take(&mut desk.request);
        desk.reply = question(&request);
        desk.reply.len()
    })
}
