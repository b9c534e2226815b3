//! `wayleave-cni`: the CNI plugin of Wayleave. All of it is in the library.

use std::env;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;

use wayleave_cni::plugin;

fn main() -> ExitCode {
    // Our own descriptor: std's stdin is buffered, and what it holds `poll` cannot see.
    let outcome = match io::stdin().as_fd().try_clone_to_owned() {
        Ok(stdin) => plugin::run(|name| env::var_os(name), File::from(stdin), None),
        Err(error) => {
            // Nothing to read a configuration from, and no version to answer in.
            let _ = writeln!(io::stderr(), "wayleave-cni: stdin is not open: {error}");
            return ExitCode::FAILURE;
        }
    };
    let printed = outcome.stdout.is_none_or(|value| {
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{value:#}")
            .and_then(|()| stdout.flush())
            .is_ok()
    });
    if outcome.success && printed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
