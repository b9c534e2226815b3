//! The way of an UPDATE through the codec allocates nothing.

#![expect(
    unsafe_code,
    reason = "counting allocations takes a global allocator, and that trait is unsafe"
)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use wayleave_bgp_core::wire::{
    MAX_MESSAGE, MessageKind, Nlri4, Nlri6, RawUpdate, Verdict, frame, parse_attributes,
};

use crate::build::{
    EXTERNAL, OLD_INTERNAL, OPTIONAL, TRANSITIVE, attr, next_hop, old_segment, origin, segment,
};

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that is going away has no counter left, and nobody reads it.
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are those of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations that `run` makes on this thread.
fn allocations(run: impl FnOnce()) -> usize {
    let before = COUNT.get();
    run();
    COUNT.get() - before
}

#[test]
fn reading_an_update_allocates_nothing_once_the_buffer_is_there() {
    assert_eq!(
        allocations(|| drop(std::hint::black_box(vec![1_u8]))),
        1,
        "the counter counts"
    );
    let reach = [
        &[0, 2, 1, 16][..],
        &[0x20; 16],
        &[0, 32, 0x20, 1, 0x0d, 0xb8],
    ]
    .concat();
    let both = OPTIONAL | TRANSITIVE;
    let more = [
        attr(both, 99, &[1, 2, 3]),
        // Out of order, and not sorted within.
        attr(both, 32, &[[9; 12], [1; 12]].concat()),
        attr(both, 8, &[0, 1, 0, 2]),
        attr(OPTIONAL, 14, &reach),
        origin(),
        next_hop(),
    ]
    .concat();
    let new = [more.clone(), attr(TRANSITIVE, 2, &segment(2, &[70_000, 2]))].concat();
    let old = [
        more,
        attr(TRANSITIVE, 2, &old_segment(2, &[10, 23_456])),
        attr(both, 17, &segment(2, &[70_000])),
    ]
    .concat();
    for (attributes, ctx) in [(new, EXTERNAL), (old, OLD_INTERNAL)] {
        let len = u16::try_from(19 + 4 + attributes.len() + 4).unwrap();
        let mut message = vec![0xFF; 16];
        message.extend_from_slice(&len.to_be_bytes());
        message.extend_from_slice(&[2, 0, 0]);
        message.extend_from_slice(&u16::try_from(attributes.len()).unwrap().to_be_bytes());
        message.extend_from_slice(&attributes);
        message.extend_from_slice(&[24, 192, 0, 2]);
        let mut canonical = Vec::with_capacity(MAX_MESSAGE);
        let mut prefixes = 0;
        let mut verdict = None;
        let made = allocations(|| {
            let framed = frame(&message, MAX_MESSAGE)
                .expect("well-formed")
                .expect("whole");
            assert_eq!(framed.kind, MessageKind::Update);
            let update = RawUpdate::split(framed.body).expect("well-formed");
            let parsed = parse_attributes(update.attributes, &ctx, true, &mut canonical);
            prefixes += Nlri4::new(update.nlri, false).flatten().count();
            let reach = parsed.reach.expect("it is there");
            prefixes += Nlri6::new(reach.nlri, false).flatten().count();
            verdict = Some(parsed.verdict);
        });
        assert_eq!((verdict, prefixes), (Some(Verdict::Ok), 2));
        assert_eq!(made, 0);
    }
}
