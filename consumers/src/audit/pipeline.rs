//! Work done side by side and taken in order.
//!
//! In scope: threads, and queues that hold back who is ahead. Out of scope: the work. Trust: none needed.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

/// Finished pieces that each thread may be ahead of the taker.
const AHEAD: usize = 2;

/// What was worked out, in order.
pub(crate) struct InOrder<T> {
    queues: Vec<Receiver<T>>,
    next: u64,
    count: u64,
}

impl<T> Iterator for InOrder<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        if self.next >= self.count {
            return None;
        }
        let queue = usize::try_from(self.next % self.queues.len() as u64).ok()?;
        self.next += 1;
        // A thread that is gone has panicked, which ends all of this once the taker returns.
        self.queues.get(queue)?.recv().ok()
    }
}

/// Works on pieces 0 to `count` - 1 on several threads while `take` takes what comes of them, in order, on this one. When
/// `take` returns, the threads end.
pub(crate) fn in_order<T: Send, R>(
    threads: usize,
    count: u64,
    work: &(impl Fn(u64) -> T + Sync),
    take: impl FnOnce(InOrder<T>) -> R,
) -> R {
    let threads = threads.clamp(1, usize::try_from(count).unwrap_or(usize::MAX).max(1));
    thread::scope(|scope| {
        let worker = |first: usize| {
            let (give, queue) = sync_channel(AHEAD);
            scope.spawn(move || {
                let pieces = (first as u64..count).step_by(threads);
                // Nobody takes any more: there is nothing left to do.
                let _ = pieces.map(work).try_for_each(|piece| give.send(piece));
            });
            queue
        };
        let queues = (0..threads).map(worker).collect();
        take(InOrder {
            queues,
            next: 0,
            count,
        })
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn pieces_come_in_order_and_nobody_runs_far_ahead() {
        for threads in [1, 2, 5, 40] {
            let done = AtomicU64::new(0);
            let work = |piece: u64| {
                done.fetch_add(1, Ordering::SeqCst);
                piece * 2
            };
            let all: Vec<u64> = in_order(threads, 23, &work, Iterator::collect);
            assert_eq!(all, (0..23).map(|piece| piece * 2).collect::<Vec<_>>());
            let first = in_order(threads, 10_000, &work, |mut pieces| pieces.next());
            assert_eq!(first, Some(0));
            let bound = 23 + 1 + threads as u64 * (AHEAD as u64 + 2);
            assert!(done.load(Ordering::SeqCst) <= bound);
            assert_eq!(in_order(threads, 0, &work, |mut pieces| pieces.next()), None);
        }
    }
}
