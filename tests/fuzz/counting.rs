//! What is allocated and not given back.
#![allow(unsafe_code, reason = "an allocator is unsafe by its trait; this one hands everything on")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering};

/// Runs of one input that each have to leave something behind before it is called a leak: the first ones may fill
/// caches and grow tables, which they do once.
const REPEATS: u32 = 8;

/// Bytes that live.
static LIVE: AtomicIsize = AtomicIsize::new(0);

struct Counting;

// SAFETY: the system's allocator does the work, with the same arguments.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        LIVE.fetch_add(new_size as isize - layout.size() as isize, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs a target.
///
/// # Panics
/// Where every further run of the same input leaves more behind.
pub fn without_leak(target: fn(&[u8]), data: &[u8]) {
    let left = || {
        let before = LIVE.load(Ordering::Relaxed);
        target(data);
        LIVE.load(Ordering::Relaxed) - before
    };
    let mut last = left();
    for _ in 0..REPEATS {
        if last <= 0 {
            return;
        }
        last = left();
    }
    assert!(last <= 0, "every run of this input leaves {last} bytes behind");
}
