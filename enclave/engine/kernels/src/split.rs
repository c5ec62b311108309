//! One slice that the parts of a run write to, each its own places.

use std::marker::PhantomData;
use std::ops::Range;

/// A slice taken apart by whoever knows that no two parts overlap.
pub(crate) struct Split<'a, T> {
    start: *mut T,
    len: usize,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: `part` hands out each place to one thread only; the exclusive borrow lasts for 'a.
unsafe impl<T: Send> Sync for Split<'_, T> {}

impl<'a, T> Split<'a, T> {
    pub fn new(slice: &'a mut [T]) -> Split<'a, T> {
        Split { start: slice.as_mut_ptr(), len: slice.len(), borrow: PhantomData }
    }

    /// # Panics
    /// When `range` is not inside the slice.
    ///
    /// # Safety
    /// No two parts that are alive at the same time overlap.
    #[inline(always)]
    #[allow(clippy::mut_from_ref, reason = "the caller keeps the parts apart")]
    pub unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "a part of the slice");
        // SAFETY: inside the slice, and apart from the other parts.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}
