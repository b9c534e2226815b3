//! The command line of the agent.

use std::process::ExitCode;

fn main() -> ExitCode {
    wayleave_agent::cli::main()
}
