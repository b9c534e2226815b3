//! The agent of one host.

use std::process::ExitCode;

fn main() -> ExitCode {
    wayleave_agent::daemon::main()
}
