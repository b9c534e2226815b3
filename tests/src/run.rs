//! Running a test in a world of its own: outside, the re-execution; inside, the test itself.

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::process::{self, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::dump;
use crate::error::Why;
use crate::lab::Lab;
use crate::need::{self, Need};
use crate::oracle;
use crate::slot::Slot;
use crate::world;

/// Says inside which test's world this process is process 1.
const MARKER: &str = "WAYLEAVE_LAB_WORLD";
/// How long a lab may take unless it says otherwise.
const LIMIT: Duration = Duration::from_secs(120);
/// What the inner time limit leaves to describe the lab before the outer one kills it.
const GRACE: Duration = Duration::from_secs(15);

/// A topology test. Made by [`lab!`](crate::lab!), which knows the test's name.
#[derive(Debug)]
pub struct LabTest {
    name: String,
    needs: Vec<Need>,
    limit: Duration,
    leaves_trouble: bool,
}

/// Starts a topology test: `lab!(Frr, Bird).run(|lab| { ... Ok(()) })`, with what it needs.
///
/// To be used in the test function itself: its path is the name by which the test binary is
/// executed again.
#[macro_export]
macro_rules! lab {
    ($($need:ident),* $(,)?) => {{
        fn here() {}
        $crate::LabTest::new(::std::any::type_name_of_val(&here), &[$($crate::Need::$need),*])
    }};
}

impl LabTest {
    /// A test by the path of a function inside it (`crate::module::test::here`).
    #[must_use]
    pub fn new(path_of_inner_function: &str, needs: &[Need]) -> Self {
        Self {
            name: test_name(path_of_inner_function),
            needs: needs.to_vec(),
            limit: LIMIT,
            leaves_trouble: false,
        }
    }

    /// Sets how long the test may take (120 s otherwise). The wait for a free slot is not counted.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Leaves out the oracle at the end: only for tests of the oracle itself, which leave
    /// violations behind on purpose.
    #[must_use]
    pub fn leaves_trouble(mut self) -> Self {
        self.leaves_trouble = true;
        self
    }

    /// Runs the test in a world of its own, and the oracle after it.
    ///
    /// # Panics
    /// When the test fails, as a test does; and in CI when a prerequisite is missing.
    pub fn run(self, body: impl FnOnce(&Lab) -> Result<(), Why>) {
        match env::var(MARKER) {
            Ok(name) if name == self.name => self.run_inside(body),
            Ok(name) => panic!("the world of {name} was asked to run {}", self.name),
            Err(_) => self.run_outside(),
        }
    }

    fn run_outside(self) {
        let unmet = need::base_unmet().or_else(|| self.needs.iter().find_map(|need| need.unmet()));
        if let Some(why) = unmet {
            return self.skip(&why);
        }
        let _slot = Slot::acquire().unwrap_or_else(|e| panic!("no slot to run a lab in: {e}"));
        match self.execute_again() {
            Ok(None) => {}
            Ok(Some(why)) => self.skip(&why),
            Err(why) => panic!("{}: {why}", self.name),
        }
    }

    /// Says that the test was skipped; in CI, fails it.
    fn skip(&self, why: &str) {
        assert!(
            env::var("CI").as_deref() != Ok("true"),
            "{} lacks a prerequisite, which in CI is a failure: {why}",
            self.name
        );
        // Past the capture of the test harness: a skipped test must be seen.
        let _ = writeln!(io::stderr(), "SKIPPED {}: {why}", self.name);
    }

    /// Executes this test binary for this one test in new namespaces and passes its output on.
    /// Returns why the inside skipped it, if it did.
    fn execute_again(&self) -> Result<Option<String>, String> {
        let program = env::current_exe().map_err(|e| format!("cannot find this program: {e}"))?;
        let (reader, writer) = io::pipe().map_err(|e| format!("cannot make a pipe: {e}"))?;
        let second = writer
            .try_clone()
            .map_err(|e| format!("cannot copy a pipe: {e}"))?;
        let mut command = self.world(&program);
        command.stdin(Stdio::null()).stdout(writer).stderr(second);
        let mut child = command
            .spawn()
            .map_err(|e| format!("cannot start a world: {e}"))?;
        drop(command); // and the pipe's writing ends with it

        let (forward, output) = lines(reader);
        let passed = self.passed();
        let skipping = self.skipped();
        let (mut seen, mut skipped) = (false, None);
        let deadline = Instant::now() + self.limit + GRACE;
        let late = loop {
            match output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    seen |= line.trim_end() == passed;
                    skipped =
                        skipped.or(line.trim_end().strip_prefix(&skipping).map(str::to_owned));
                    // Marked, so that nobody takes the inner harness's words for the outer one's.
                    eprint!("| {line}");
                }
                Err(RecvTimeoutError::Disconnected) => break false,
                Err(RecvTimeoutError::Timeout) => break true,
            }
        };
        if late {
            let _ = child.kill();
        }
        let status = child
            .wait()
            .map_err(|e| format!("cannot wait for the world: {e}"))?;
        drop(output);
        let _ = forward.join();
        match (late, status.success(), seen || skipped.is_some()) {
            (true, ..) => Err(format!(
                "still not done {} s after its start, killed",
                self.limit.as_secs()
            )),
            (_, false, _) => Err(format!(
                "failed in its world ({status}); its output is above"
            )),
            // A name that matches no test would otherwise pass.
            (_, _, false) => Err("the world ended well without having run the test".to_owned()),
            (_, true, true) => Ok(skipped),
        }
    }

    /// The command that makes a world and executes this one test as process 1 of it.
    ///
    /// Should this process die, `setpriv` lets the kernel kill `unshare`, and `unshare` its child, and
    /// with process 1 the whole world goes.
    fn world(&self, program: &Path) -> Command {
        let lasting = [
            "--pdeathsig",
            "KILL",
            "--",
            "unshare",
            "--fork",
            "--kill-child=KILL",
        ];
        let private = ["--net", "--mount", "--pid", "--ipc", "--mount-proc", "--"];
        let this = [
            "--exact",
            "--nocapture",
            "--test-threads=1",
            "--include-ignored",
        ];
        let backtrace = env::var("RUST_BACKTRACE").unwrap_or_else(|_| "0".into());
        let mut command = Command::new("setpriv");
        command
            .args(lasting)
            .args(private)
            .arg(program)
            .arg(&self.name)
            .args(this);
        command
            .env(MARKER, &self.name)
            .env("RUST_BACKTRACE", backtrace);
        command
    }

    fn run_inside(self, body: impl FnOnce(&Lab) -> Result<(), Why>) {
        let start = Instant::now();
        let lab = match world::prepare().and_then(|()| Lab::new()) {
            Ok(lab) => lab,
            Err(e) => panic!("cannot make the world of {}: {e}", self.name),
        };
        watch(self.name.clone(), self.limit, lab.clone());
        let verdict = panic::catch_unwind(AssertUnwindSafe(|| {
            body(&lab)?;
            if !self.leaves_trouble {
                let violations = oracle::check(&lab);
                if !violations.is_empty() {
                    return Err(Why::from(oracle::describe(&violations)));
                }
            }
            Ok(())
        }));
        match verdict {
            Ok(Ok(())) => {
                lab.end();
                eprintln!("lab: took {} ms", start.elapsed().as_millis());
                eprintln!("{}", self.passed());
            }
            Ok(Err(_)) if let Some(why) = lab.skipped() => {
                lab.end();
                // The harness has begun a line with the test's name.
                eprintln!("\n{}{why}", self.skipped());
            }
            Ok(Err(why)) => {
                eprintln!("{}", dump::describe(&lab));
                lab.end();
                panic!("{}: {why:?}", self.name);
            }
            Err(panic) => {
                eprintln!("{}", dump::describe(&lab));
                lab.end();
                panic::resume_unwind(panic);
            }
        }
    }

    /// What the line begins with by which the inner process says that it skipped this test.
    fn skipped(&self) -> String {
        format!("lab: {} skipped: ", self.name)
    }

    /// The line by which the inner process says that it ran this very test.
    fn passed(&self) -> String {
        format!("lab: {} passed", self.name)
    }
}

/// Reads lines in a thread of their own, so that waiting for them can be bounded.
fn lines(reader: impl Read + Send + 'static) -> (JoinHandle<()>, Receiver<String>) {
    let (lines, output) = mpsc::channel();
    let forward = thread::spawn(move || {
        let mut reader = BufReader::new(reader);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&line).into_owned();
            line.clear();
            if lines.send(text).is_err() {
                break;
            }
        }
    });
    (forward, output)
}

/// Describes the lab and ends the world when the test takes too long.
fn watch(name: String, limit: Duration, lab: Lab) {
    thread::spawn(move || {
        thread::sleep(limit);
        eprintln!("{}", dump::describe(&lab));
        eprintln!("lab: {name} did not end within {} s", limit.as_secs());
        process::exit(101);
    });
}

/// `crate::module::test::here` without the crate and the inner function.
fn test_name(path: &str) -> String {
    let inner = path.split_once("::").map_or(path, |(_, rest)| rest);
    let name = inner.strip_suffix("::here").unwrap_or(inner);
    name.trim_end_matches("::{{closure}}").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_test_is_its_path_without_the_crate() {
        assert_eq!(
            test_name("lab::two_routers::routes_cross::here"),
            "two_routers::routes_cross"
        );
        assert_eq!(
            test_name("lab::routes_cross::{{closure}}::here"),
            "routes_cross"
        );
    }

    #[test]
    fn the_macro_names_the_test_it_stands_in() {
        let test = crate::lab!(Bird);
        assert_eq!(
            test.name,
            "run::tests::the_macro_names_the_test_it_stands_in"
        );
        assert_eq!(test.needs, [Need::Bird]);
    }
}
