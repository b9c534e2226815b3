//! The inside of a world: what is private to one test beyond its namespaces.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::unistd::getpid;

use crate::error::LabError;

/// Where a lab keeps its own files. In a tmpfs of the world.
pub(crate) const ROOT: &str = "/run/lab";
/// The kernel's number for routes of the agent.
pub(crate) const PROTOCOL: u8 = 201;

/// Makes `/run`, `/etc` and `/var` private and writable, `/sys` show this network namespace, and
/// the loopback interface work.
///
/// `/etc` and `/var` are overlays of what the machine has: stock routers find their files, and
/// what they, the agents or a test write there vanishes with the world.
pub(crate) fn prepare() -> Result<(), LabError> {
    if getpid().as_raw() != 1 {
        return Err(LabError::Process {
            process: "this test".to_owned(),
            why: format!(
                "is process {}, not process 1 of a world of its own",
                getpid()
            ),
        });
    }
    mount_at("tmpfs", "/run", "tmpfs", Some("mode=755"))?;
    for directory in ["/etc", "/var"] {
        let hidden = format!("/run/.over{directory}");
        let (upper, work) = (format!("{hidden}/upper"), format!("{hidden}/work"));
        make_directory(&upper)?;
        make_directory(&work)?;
        let options = format!("lowerdir={directory},upperdir={upper},workdir={work}");
        mount_at("overlay", directory, "overlay", Some(&options))?;
    }
    mount_at("sysfs", "/sys", "sysfs", None)?;
    for directory in [
        "/run/netns",
        "/run/lock",
        "/run/wayleave",
        "/etc/netns",
        "/etc/wayleave",
        ROOT,
    ] {
        make_directory(directory)?;
    }
    name_the_protocol()
}

/// Makes a directory that everybody can enter (daemons drop root).
pub(crate) fn make_directory(path: impl AsRef<Path>) -> Result<(), LabError> {
    let path = path.as_ref();
    let refused = |e| LabError::system(format!("make the directory {}", path.display()), e);
    fs::create_dir_all(path).map_err(refused)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(refused)
}

/// Writes a file that everybody can read.
pub(crate) fn write_file(path: impl AsRef<Path>, text: &str) -> Result<(), LabError> {
    let path = path.as_ref();
    let refused = |e| LabError::system(format!("write {}", path.display()), e);
    fs::write(path, text).map_err(refused)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).map_err(refused)
}

fn mount_at(source: &str, target: &str, kind: &str, options: Option<&str>) -> Result<(), LabError> {
    mount(Some(source), target, Some(kind), MsFlags::empty(), options)
        .map_err(|e| LabError::system(format!("mount a {kind} on {target}"), e.into()))
}

/// Lets `ip` print and accept the agent's protocol by name, as the agent's package does.
fn name_the_protocol() -> Result<(), LabError> {
    let directory = "/etc/iproute2/rt_protos.d";
    make_directory(directory)?;
    write_file(
        format!("{directory}/wayleave.conf"),
        &format!("{PROTOCOL}\twayleave\n"),
    )
}
