//! A bounded queue of lines and the thread that writes them.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

/// Lines that may wait for a slow reader of the log.
const QUEUE: usize = 4_096;

enum Entry {
    Line(String),
    /// Answered when everything before it is written.
    Flush(SyncSender<()>),
}

/// The way into the log. Clones share the queue.
#[derive(Clone)]
pub(super) struct Queue {
    entries: SyncSender<Entry>,
    dropped: Arc<AtomicU64>,
}

impl Queue {
    /// Hands over a line, with its line break, or drops it when the queue is full.
    pub(super) fn push(&self, line: String) {
        if let Err(TrySendError::Full(_)) = self.entries.try_send(Entry::Line(line)) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until what was pushed before is written, at most this long.
    pub(super) fn flush(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let (done, written) = sync_channel(1);
        let mut entry = Entry::Flush(done);
        loop {
            match self.entries.try_send(entry) {
                Ok(()) => break,
                Err(TrySendError::Full(back)) if Instant::now() < deadline => {
                    entry = back;
                    thread::sleep(Duration::from_millis(5));
                }
                Err(_) => return,
            }
        }
        let _ = written.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

/// Starts the thread; it ends with the last [`Queue`].
pub(super) fn start(sink: impl Write + Send + 'static) -> io::Result<Queue> {
    start_with(sink, QUEUE)
}

fn start_with(sink: impl Write + Send + 'static, length: usize) -> io::Result<Queue> {
    let (entries, waiting) = sync_channel(length);
    let dropped = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&dropped);
    thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write(sink, &waiting, &counter))?;
    Ok(Queue { entries, dropped })
}

fn write(mut sink: impl Write, waiting: &Receiver<Entry>, dropped: &AtomicU64) {
    let mut reported = 0;
    loop {
        let entry = match waiting.recv_timeout(Duration::from_secs(1)) {
            Ok(entry) => Some(entry),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        // A log that cannot be written must not stop the agent: there is nobody left to tell.
        match entry {
            Some(Entry::Line(line)) => {
                let _ = sink.write_all(line.as_bytes());
            }
            Some(Entry::Flush(done)) => {
                let _ = sink.flush();
                let _ = done.send(());
            }
            None => {}
        }
        let total = dropped.load(Ordering::Relaxed);
        if total != reported {
            let _ = writeln!(
                sink,
                "wayleaved: {} lines of the log were dropped: its reader is too slow",
                total - reported
            );
            reported = total;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A sink that takes a line only when it is told to.
    struct Gated {
        gate: mpsc::Receiver<()>,
        lines: mpsc::Sender<String>,
    }

    impl Write for Gated {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            let _ = self.gate.recv();
            let _ = self.lines.send(String::from_utf8_lossy(buf).into_owned());
            Ok(buf.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stuck_reader_costs_lines_that_are_counted_and_never_time() {
        let (open, gate) = mpsc::channel();
        let (lines, written) = mpsc::channel();
        let queue = start_with(Gated { gate, lines }, 2).unwrap();
        let started = Instant::now();
        for index in 0..100 {
            queue.push(format!("{index}\n"));
        }
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "pushing waited for the reader"
        );
        drop(open);
        queue.flush(Duration::from_secs(10));
        drop(queue);
        let all: String = written.iter().collect();
        let kept = all
            .lines()
            .filter(|line| line.parse::<u32>().is_ok())
            .count();
        let counted: usize = all
            .lines()
            .filter_map(|line| {
                line.strip_prefix("wayleaved: ")?
                    .split(' ')
                    .next()?
                    .parse::<usize>()
                    .ok()
            })
            .sum();
        assert!(kept < 100, "the queue is not bounded");
        assert_eq!(
            kept + counted,
            100,
            "every line is written or counted:\n{all}"
        );
    }
}
