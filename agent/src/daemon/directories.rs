//! The directories the agent owns while it runs.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::DirBuilderExt,
    path::Path,
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    unistd::{Gid, chown},
};

use super::StartError;
use crate::config::Paths;

/// The file in a directory whose lock says who owns it.
const LOCK: &str = "wayleaved.lock";

/// Locks on the directories. The kernel drops them with the process, however it ends.
#[derive(Debug)]
pub(super) struct Directories {
    _locks: Vec<Flock<File>>,
}

/// Creates what is missing, proves that it can be written to, and takes the locks. A directory
/// for the sockets that is created here is opened to `group`; one that was there is somebody
/// else's decision.
pub(super) fn take(paths: &Paths, group: Option<Gid>) -> Result<Directories, StartError> {
    let wanted = [
        ("the state directory", "state", &paths.state.value, None),
        (
            "the directory of the sockets",
            "run",
            &paths.run.value,
            group,
        ),
    ];
    let mut locks: Vec<Flock<File>> = Vec::new();
    let mut taken: Vec<&Path> = Vec::new();
    for (what, key, path, group) in wanted {
        if !taken.contains(&path.as_path()) {
            locks.push(take_one(what, key, path, group)?);
            taken.push(path);
        }
    }
    Ok(Directories { _locks: locks })
}

fn take_one(
    what: &'static str,
    key: &'static str,
    path: &Path,
    group: Option<Gid>,
) -> Result<Flock<File>, StartError> {
    let failed = |reason: io::Error| StartError::Directory {
        what,
        key,
        path: path.to_owned(),
        reason,
    };
    let is_new = !path.exists();
    DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(path)
        .map_err(failed)?;
    if let Some(group) = group.filter(|_| is_new) {
        chown(path, None, Some(group)).map_err(|error| failed(error.into()))?;
    }
    let lock = path.join(LOCK);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&lock)
        .map_err(failed)?;
    let mut file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(file) => file,
        Err((mut file, Errno::EWOULDBLOCK)) => {
            let mut holder = String::new();
            // Only for the message: an unreadable number is as good as none.
            let _ = file.read_to_string(&mut holder);
            let known = holder.trim();
            let holder = if known.parse::<u32>().is_ok() {
                known
            } else {
                "unknown"
            }
            .to_owned();
            return Err(StartError::InUse {
                key,
                path: path.to_owned(),
                holder,
            });
        }
        Err((_, error)) => return Err(failed(error.into())),
    };
    // Proves at once that the file system takes writes.
    write_pid(&mut file).map_err(failed)?;
    Ok(file)
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())?;
    file.sync_data()
}

/// Removes what must not be found after a planned stop.
pub(super) fn clear_run(paths: &Paths) {
    // The lock file stays: removing it would let two successors lock two different files.
    let _ = fs::remove_file(paths.api_socket());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_belongs_to_one_agent_at_a_time() {
        let directory = std::env::temp_dir().join(format!("wayleave-lock-{}", std::process::id()));
        let first = take_one("the state directory", "state", &directory, None).unwrap();
        let second = take_one("the state directory", "state", &directory, None).unwrap_err();
        let own = std::process::id().to_string();
        assert!(
            matches!(&second, StartError::InUse { holder, .. } if *holder == own),
            "{second}"
        );
        drop(first);
        take_one("the state directory", "state", &directory, None).unwrap();
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_path_through_a_file_is_one_clear_sentence() {
        let error = take_one(
            "the state directory",
            "state",
            Path::new("/proc/version/x"),
            None,
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot use /proc/version/x as the state directory: a part of the path is not a directory; \
             set [paths] state, or run as a user who may write there"
        );
    }
}
