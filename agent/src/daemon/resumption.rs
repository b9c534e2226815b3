//! Whether an agent ran here before, whose routes packets still follow.
//!
//! The kernel keeps routes when an agent ends, however it ends, and loses them with the boot or with
//! the network namespace. So an agent leaves in its state directory in which of these it ran, once it
//! has brought the kernel in line.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::text;

/// The file in the state directory.
const FILE: &str = "forwarding";

/// Whether an agent before ran in this boot and namespace. Where that cannot be told, neighbours are
/// told that nothing was kept.
pub(super) fn ran_before(state: &Path) -> bool {
    let file = state.join(FILE);
    let outcome = here().and_then(|here| match fs::read_to_string(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        // A torn one is no match.
        there => Ok(there? == here),
    });
    outcome.unwrap_or_else(|error| {
        tracing::warn!(
            "cannot tell whether routes of an earlier run are in use ({}: {}): neighbours that hold \
             them are told that they are not",
            file.display(),
            text::io_reason(&error)
        );
        false
    })
}

/// Leaves word for the next agent that this one ran here.
pub(super) fn leave_word(state: &Path) {
    let file = state.join(FILE);
    if let Err(error) = here().and_then(|here| fs::write(&file, here)) {
        tracing::warn!(
            "cannot write {}: {}; after a restart neighbours will be told that no routes were kept",
            file.display(),
            text::io_reason(&error)
        );
    }
}

/// Names this boot and this network namespace.
fn here() -> io::Result<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let namespace: PathBuf = fs::read_link("/proc/self/ns/net")?;
    Ok(format!("{} {}\n", boot.trim(), namespace.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_agent_of_a_boot_and_namespace_is_a_restart_and_no_other_is() {
        let state = std::env::temp_dir().join(format!("wayleave-resumed-{}", std::process::id()));
        fs::create_dir(&state).expect("a directory");
        assert!(!ran_before(&state));
        assert!(!ran_before(&state), "it has not come so far");
        leave_word(&state);
        assert!(ran_before(&state));
        let file = state.join(FILE);
        for other in ["", "another boot net:[1]\n", "\0\u{1}"] {
            fs::write(&file, other).expect("it can be written");
            assert!(!ran_before(&state), "{other:?}");
            leave_word(&state);
            assert!(ran_before(&state));
        }
        leave_word(&state.join("missing"));
        assert!(!ran_before(&state.join("missing")));
        fs::remove_dir_all(&state).expect("it can be removed");
    }
}
