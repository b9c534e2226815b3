//! `services.d/*.toml`: services that are there as long as the file is.
//!
//! ```toml
//! [[service]]
//! name = "web"
//! namespace = "shop"                       # default: "default"
//! addresses = ["10.1.7.2", "fd00:1::2"]
//! ports = [{ name = "http", port = 80 }]
//! tags = ["version=2"]
//! checks = [{ kind = "http", port = 80, path = "/healthz", interval = "5s" }]
//! ```
//!
//! A file is taken whole or not at all.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use toml::Spanned;
use wayleave_discovery::{names::InstanceId, registry::Registration};

use crate::text::{io_reason, printable};

/// More than this is not a file of services.
const LARGEST: u64 = 1 << 20;

/// What is wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// The line and the column in it, from 1; none when the file cannot be read at all.
    pub place: Option<(usize, usize)>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = printable(&self.path.display().to_string());
        match self.place {
            Some((line, column)) => write!(f, "{path}:{line}:{column}: {}", self.message),
            None => write!(f, "{path}: {}", self.message),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    service: Vec<Spanned<Registration>>,
}

/// The services of a file.
pub fn read_file(path: &Path) -> Result<Vec<Registration>, FileError> {
    let text = read_text(path).map_err(|error| FileError {
        path: path.to_owned(),
        place: None,
        message: format!("cannot be read: {}", io_reason(&error)),
    })?;
    parse(path, &text)
}

/// A file, and what it says.
pub(super) type ReadFile = (PathBuf, Result<Vec<Registration>, FileError>);

/// What the files of a directory say, by path, in the order of their names. Blocks on the disk.
pub(super) fn read_all(directory: &Path) -> Result<Vec<ReadFile>, FileError> {
    let read = |path: PathBuf| {
        let services = read_file(&path);
        (path, services)
    };
    Ok(files(directory)?.into_iter().map(read).collect())
}

/// The files of a directory in the order of their names. A directory that is not there has none.
fn files(directory: &Path) -> Result<Vec<PathBuf>, FileError> {
    let wrong = |error: io::Error| FileError {
        path: directory.to_owned(),
        place: None,
        message: format!("cannot be listed: {}", io_reason(&error)),
    };
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(wrong(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(wrong)?.path();
        let is_hidden = path
            .file_name()
            .is_none_or(|n| n.as_encoded_bytes().starts_with(b"."));
        if !is_hidden
            && path
                .extension()
                .is_some_and(|extension| extension == "toml")
        {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

pub(crate) fn parse(path: &Path, text: &str) -> Result<Vec<Registration>, FileError> {
    let wrong = |at: Option<usize>, message: &str| FileError {
        path: path.to_owned(),
        place: at.map(|at| place(text, at)),
        message: printable(message),
    };
    let file: File = toml::from_str(text).map_err(|error: toml::de::Error| {
        // A parse error of several lines is one sentence here; its place is told beside it.
        let message = error.message().lines().collect::<Vec<_>>().join("; ");
        wrong(error.span().map(|span| span.start), &message)
    })?;
    let mut lines: BTreeMap<InstanceId, usize> = BTreeMap::new();
    let mut services = Vec::new();
    for service in file.service {
        let at = service.span().start;
        let service = service.into_inner();
        let (line, _) = place(text, at);
        if let Some(first) = lines.insert(service.instance.clone(), line) {
            let id = &service.instance;
            return Err(wrong(
                Some(at),
                &format!(
                    "instance `{id}` is in line {first} already; give one of them another `id`"
                ),
            ));
        }
        services.push(service);
    }
    Ok(services)
}

/// Line and column of a place in a text, from 1; the column counts characters.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (
        line,
        before.get(start..).unwrap_or_default().chars().count() + 1,
    )
}

fn read_text(path: &Path) -> io::Result<String> {
    use io::Read;
    use std::os::unix::fs::OpenOptionsExt;
    let mut text = String::new();
    // A pipe that nobody writes to would never be open, and a device may never end.
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    file.take(LARGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST {
        return Err(io::Error::other("it is over 1 MiB"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<Registration>, String> {
        parse(Path::new("/etc/wayleave/services.d/web.toml"), text).map_err(|e| e.to_string())
    }

    #[test]
    fn a_file_holds_any_number_of_services() {
        let services = parsed(
            r#"
            [[service]]
            name = "web"
            addresses = ["10.1.7.2", "fd00::2"]
            ports = [{ name = "http", port = 80 }]
            tags = ["version=2"]
            checks = [{ kind = "http", port = 80, interval = "5s" }, { kind = "tcp", port = 80 }]

            [[service]]
            name = "db"
            namespace = "shop"
            address = "10.1.7.3"
            "#,
        )
        .expect("two services");
        let ids: Vec<&str> = services.iter().map(|s| s.instance.as_str()).collect();
        assert_eq!(ids, ["web@10.1.7.2:80", "db.shop@10.1.7.3"]);
        assert_eq!(services[0].checks.len(), 2);
        assert_eq!(parsed("").expect("none"), []);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_column() {
        let at = "/etc/wayleave/services.d/web.toml";
        for (text, place, part) in [
            (
                "[[service]]\nname = \"Web\"\naddress = \"10.1.7.2\"\n",
                "2:8",
                "`W` is upper case",
            ),
            (
                "[[service]]\nname = \"web\"\naddress = \"10.1.7\"\n",
                "3:11",
                "IP address",
            ),
            ("[[service]]\nname = \"web\"\n", "1:1", "has no address"),
            (
                "[[service]]\nname = \"web\"\naddress = \"10.1.7.2\"\ncolour = 1\n",
                "4:1",
                "unknown field `colour`",
            ),
            ("[[service]]\nname = web\n", "2:8", "string"),
            ("[service]\nname = 1\n", "1:1", "sequence"),
            (
                "[[service]]\nname = \"web\"\naddress = \"10.1.7.2\"\nchecks = [{ kind = \"icmp\", port = 1 }]\n",
                "4:10",
                "`icmp` is not known",
            ),
            (
                "[[service]]\nname = \"web\"\naddress = \"10.1.7.2\"\n\n[[service]]\nname = \"web\"\naddress = \"10.1.7.2\"\n",
                "5:1",
                "is in line 1 already",
            ),
        ] {
            let error = parsed(text).expect_err(text);
            assert!(
                error.starts_with(&format!("{at}:{place}")),
                "{text:?}: {error}"
            );
            assert!(
                error.contains(part) && !error.contains('\n'),
                "{text:?}: {error}"
            );
        }
    }

    #[test]
    fn a_pipe_or_a_directory_among_the_files_is_named_and_holds_up_nothing() {
        let directory =
            std::env::temp_dir().join(format!("wayleave-service-pipe-{}", std::process::id()));
        std::fs::create_dir_all(directory.join("b.toml")).unwrap();
        nix::unistd::mkfifo(&directory.join("a.toml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::fs::write(directory.join("c.toml"), "").unwrap();
        let (done, read) = std::sync::mpsc::channel();
        let there = directory.clone();
        std::thread::spawn(move || done.send(read_all(&there)));
        let read = read
            .recv_timeout(std::time::Duration::from_secs(10))
            .expect("a pipe does not hold it up")
            .unwrap();
        std::fs::remove_dir_all(&directory).unwrap();
        let outcomes: Vec<bool> = read.iter().map(|(_, services)| services.is_ok()).collect();
        assert_eq!(outcomes, [false, false, true]);
        for (_, services) in &read[..2] {
            let error = services.as_ref().unwrap_err().to_string();
            assert!(error.contains("not a regular file"), "{error}");
        }
    }

    #[test]
    fn the_text_of_a_file_cannot_drive_a_terminal() {
        let error = parsed("[[service]]\n\"\u{1b}[2J\" = 1\n").expect_err("an unknown field");
        assert!(!error.contains('\u{1b}'), "{error:?}");
    }
}
