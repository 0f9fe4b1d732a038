//! Counts allocations on chosen threads, for tests.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The system's allocator, with a count for the threads that asked for one.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static COUNT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

/// From now on the allocations of this thread are counted.
pub fn count_this_thread() {
    COUNTED.set(true);
}

/// Allocations so far, of all threads that are counted.
pub fn allocations() -> usize {
    COUNT.load(Relaxed)
}

fn count() {
    if COUNTED.get() {
        COUNT.fetch_add(1, Relaxed);
    }
}

// SAFETY: every call is handed on to the system's allocator as it came; counting touches an atomic and a thread-local
// without a destructor, neither of which allocates.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is the one that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[test]
fn an_allocation_is_counted_on_a_counted_thread_only() {
    let boxes = || {
        let before = allocations();
        drop(std::hint::black_box(Box::new([0u8; 100])));
        allocations() - before
    };
    // Other tests count on threads of their own pools, in this very process: only a lower bound is safe to check.
    std::thread::spawn(move || {
        count_this_thread();
        assert!(boxes() >= 1);
    })
    .join()
    .unwrap();
    assert!(!COUNTED.get());
}
