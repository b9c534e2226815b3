//! A host and its containers for tests: network namespaces that live as long as their threads.

use std::{
    collections::BTreeSet,
    fs::File,
    net::{IpAddr, SocketAddr, UdpSocket},
    path::PathBuf,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    sched::{CloneFlags, unshare},
    sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket},
};
use wayleave_cni::message::{Step, StepError};
use wayleave_ipam::{Block, BootId, Cidr, Owner, Pool, PoolRange, Wanted};
use wayleave_netlink::{
    Dump, Family, Kernel, Link, LinkChange, Object, Prefix, Protocol, Route, RouteFilter, Socket,
    TABLE_LOCAL, TABLE_MAIN, sysctl::Sysctl,
};

use super::{
    AddRequest, Adopted, AttachError, Attached, Attachments, Member, Namespace, Outlet, Point,
    Settings, StartError, group,
};
use crate::problem::Problems;
use crate::store::{Host as Machine, Restored, Store, StoreHandle, disk::Disk};

/// Runs a test in a network namespace of its own. Without privilege it is skipped, and said so;
/// in CI that is a failure.
pub(crate) fn in_world(test: impl FnOnce(&mut World) + Send + 'static) {
    let outcome = thread::spawn(move || {
        if let Err(errno) = unshare(CloneFlags::CLONE_NEWNET) {
            assert!(
                std::env::var_os("CI").is_none(),
                "no network namespace: {errno}"
            );
            println!("SKIPPED: a network namespace cannot be made: {errno}");
            return;
        }
        let mut kernel = Socket::open().unwrap();
        kernel
            .apply_one(&LinkChange::of("lo").up(true).into())
            .unwrap();
        Sysctl::ForwardingV4.write("all", 1).unwrap();
        Sysctl::ForwardingV6.write("all", 1).unwrap();
        // The host's own addresses; without them it could not talk to a container itself.
        for arguments in [
            "addr add 192.0.2.1/32 dev lo",
            "addr add 2001:db8::1/128 dev lo nodad",
        ] {
            assert!(ip(&words(arguments)));
        }
        // The kernel makes it usable from a work queue.
        let own: Prefix = "2001:db8::1/128".parse().unwrap();
        let local = RouteFilter::all(Family::V6).table(TABLE_LOCAL);
        let deadline = Instant::now() + Duration::from_secs(10);
        while !kernel
            .routes(local)
            .unwrap()
            .iter()
            .any(|route| route.prefix == own)
        {
            assert!(
                Instant::now() < deadline,
                "the host's own address does not become usable"
            );
            thread::sleep(Duration::from_millis(1));
        }
        test(&mut World {
            kernel,
            disk: Disk::default(),
            outlet: Heard::default(),
            problems: Problems::default(),
        });
    });
    if let Err(panic) = outcome.join() {
        std::panic::resume_unwind(panic);
    }
}

/// The host: its kernel and its disk.
pub(crate) struct World {
    pub(crate) kernel: Socket,
    pub(crate) disk: Disk,
    pub(crate) outlet: Heard,
    pub(crate) problems: Problems,
}

/// What the outlet was told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    pub(crate) routes: Arc<Mutex<BTreeSet<Prefix>>>,
    pub(crate) originated: Arc<Mutex<BTreeSet<Cidr>>>,
}

impl Outlet for Heard {
    fn local_route(&self, prefix: Prefix, route: Option<Route>) {
        let mut routes = self.routes.lock().unwrap();
        match route {
            Some(_) => routes.insert(prefix),
            None => routes.remove(&prefix),
        };
    }

    fn originate(&self, prefixes: &BTreeSet<Cidr>) {
        self.originated.lock().unwrap().clone_from(prefixes);
    }
}

pub(crate) const BOOT: BootId = BootId(7);

pub(crate) fn space() -> (Vec<Pool>, Vec<Block>) {
    let cidr = |text: &str| text.parse::<Cidr>().unwrap();
    let ranges = ["10.1.0.0/16", "fd00:1::/64"];
    let ranges = ranges
        .map(|range| PoolRange::with_default_blocks(cidr(range)))
        .to_vec();
    let pool = Pool::new("green", ranges, vec![]).unwrap();
    let blocks = ["10.1.7.0/24", "fd00:1::/120"];
    (
        vec![pool],
        blocks
            .map(|block| Block::fixed("green", cidr(block)))
            .to_vec(),
    )
}

impl World {
    /// The state on a copy of the disk, as a new process finds it after a kill.
    pub(crate) fn store(&mut self) -> (StoreHandle, Restored) {
        self.disk = self.disk.copy();
        open(&self.disk)
    }

    /// An agent on what the last one left.
    pub(crate) fn start(&mut self) -> (Attachments, Adopted) {
        self.start_with(space(), None).unwrap()
    }

    /// An agent that a kill ends at the point.
    pub(crate) fn start_until(&mut self, point: Point) -> Attachments {
        let points = move |at: Point| at != point;
        self.start_with(space(), Some(Arc::new(points))).unwrap().0
    }

    pub(crate) fn start_with(
        &mut self,
        (pools, blocks): (Vec<Pool>, Vec<Block>),
        points: Option<super::Points>,
    ) -> Result<(Attachments, Adopted), StartError> {
        // Nobody remembers what the last agent said.
        self.outlet = Heard::default();
        let (store, restored) = self.store();
        let settings = Settings {
            mtu: 1_400,
            protocol: Protocol::WAYLEAVE,
            table: TABLE_MAIN,
            problems: self.problems.clone(),
            points,
        };
        let outlet = Box::new(self.outlet.clone());
        Attachments::start(settings, BOOT, pools, blocks, (store, &restored), outlet)
    }

    /// Interfaces of ours on the host.
    pub(crate) fn links(&mut self) -> Vec<Link> {
        let objects = self.kernel.dump(&Dump::Links).unwrap();
        objects
            .into_iter()
            .filter_map(|object| {
                if let Object::Link(link) = object {
                    Some(*link)
                } else {
                    None
                }
            })
            .filter(|link| group::is_ours(link.group) || link.name.starts_with("way"))
            .collect()
    }

    /// Routes of ours on the host.
    pub(crate) fn routes(&mut self) -> Vec<Route> {
        let mut routes = Vec::new();
        for family in [Family::V4, Family::V6] {
            let filter = RouteFilter::all(family).protocol(Protocol::WAYLEAVE);
            routes.extend(self.kernel.routes(filter).unwrap());
        }
        routes
    }

    /// Nothing of any container is left, in the kernel, on the disk or with others.
    pub(crate) fn assert_empty(&mut self) {
        // The kernel deletes the interfaces of a namespace that ends some time later.
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.links().is_empty() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(self.links(), []);
        assert_eq!(self.routes(), []);
        let (_, restored) = open(&self.disk.copy());
        assert_eq!(restored.leases, []);
        assert!(restored.attachments.is_empty());
        assert_eq!(*self.outlet.routes.lock().unwrap(), BTreeSet::new());
    }
}

fn open(disk: &Disk) -> (StoreHandle, Restored) {
    let machine = Machine {
        machine: None,
        boot: BOOT,
    };
    Store::open_with(disk.opener(), "memory".as_ref(), &machine).unwrap()
}

/// Work for the thread that is a member of a container's namespace.
type Job = Box<dyn FnOnce() + Send>;

/// A container: a thread in a namespace of its own.
pub(crate) struct Container {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    jobs: Option<Sender<Job>>,
    living: Arc<AtomicBool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Container {
    pub(crate) fn new(name: &str) -> Self {
        let (jobs, todo) = mpsc::channel::<Job>();
        let (tell, told) = mpsc::channel();
        let thread = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let tid = nix::unistd::gettid();
            tell.send(format!("/proc/{}/task/{tid}/ns/net", std::process::id()))
                .unwrap();
            for job in todo {
                job();
            }
        });
        let path = told.recv().unwrap().into();
        Self {
            name: name.to_owned(),
            path,
            jobs: Some(jobs),
            living: Arc::new(AtomicBool::new(true)),
            threads: Mutex::new(vec![thread]),
        }
    }

    /// Runs something inside.
    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, outcome) = mpsc::channel();
        let job = Box::new(move || {
            let _ = done.send(job());
        });
        self.jobs.as_ref().unwrap().send(job).unwrap();
        outcome
            .recv()
            .expect("the job inside the container panicked")
    }

    /// What the plugin would hand over.
    pub(crate) fn namespace(&self) -> Namespace {
        let route_socket = self.run(|| {
            let flags = SockFlag::SOCK_CLOEXEC;
            let route = SockProtocol::NetlinkRoute;
            socket(AddressFamily::Netlink, SockType::Raw, flags, route).unwrap()
        });
        Namespace {
            netns: File::open(&self.path).unwrap().into(),
            route_socket,
        }
    }

    pub(crate) fn owner(&self) -> Owner {
        Owner::new(&self.name, "eth0")
    }

    pub(crate) fn request(&self) -> AddRequest {
        AddRequest {
            owner: self.owner(),
            network: "fabric".to_owned(),
            netns: self.path.display().to_string(),
            pools: vec![],
            wanted: Wanted::Available,
            addresses: vec![],
            mtu: None,
            mac: None,
            namespace: self.namespace(),
        }
    }

    pub(crate) fn add(&self, attachments: &Attachments) -> Result<Attached, AttachError> {
        attachments.add(self.request(), &mut Inside(self))
    }

    /// Applies changes inside.
    pub(crate) fn ip(&self, arguments: &str) {
        let words = words(arguments);
        let success = self.run(move || ip(&words));
        assert!(success, "ip {arguments}");
    }

    /// Answers every datagram with the address it came from, as a text, while the container lives:
    /// an open socket would keep its namespace from ending.
    pub(crate) fn echo(&self) {
        let socket = self.run(|| UdpSocket::bind("[::]:7").unwrap());
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let living = Arc::clone(&self.living);
        let answering = thread::spawn(move || {
            let mut buffer = [0; 64];
            while living.load(Ordering::Relaxed) {
                if let Ok((_, from)) = socket.recv_from(&mut buffer) {
                    let seen = from.ip().to_canonical().to_string();
                    // Whoever asked may be gone.
                    let _ = socket.send_to(seen.as_bytes(), from);
                }
            }
        });
        self.threads.lock().unwrap().push(answering);
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.living.store(false, Ordering::Relaxed);
        drop(self.jobs.take());
        let threads = std::mem::take(&mut *self.threads.lock().unwrap());
        for thread in threads {
            let _ = thread.join();
        }
    }
}

/// A command line without quotes.
pub(crate) fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

/// `ip` in the namespace of the calling thread.
pub(crate) fn ip(arguments: &[String]) -> bool {
    Command::new("ip")
        .args(arguments)
        .status()
        .is_ok_and(|status| status.success())
}

/// Sends one datagram, once, and returns the source address that the other side saw.
pub(crate) fn first_packet(to: IpAddr) -> std::io::Result<IpAddr> {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.send_to(b"hello", SocketAddr::new(to, 7))?;
    let mut buffer = [0; 64];
    let len = socket.recv(&mut buffer)?;
    let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
    text.parse().map_err(std::io::Error::other)
}

/// The plugin's part, played by the container's own thread.
pub(crate) struct Inside<'a>(pub(crate) &'a Container);

impl Member for Inside<'_> {
    fn perform(&mut self, steps: Vec<Step>) -> Result<Vec<Result<String, StepError>>, String> {
        Ok(self.0.run(move || {
            let outcome = |step: Step| match step {
                Step::WriteSysctl { path, value } => {
                    std::fs::write(format!("/proc/sys/{path}"), value).map(|()| String::new())
                }
                Step::ReadSysctl { path } => std::fs::read_to_string(format!("/proc/sys/{path}")),
            };
            let failed = |error: std::io::Error| StepError {
                errno: error.raw_os_error(),
                message: error.to_string(),
            };
            steps
                .into_iter()
                .map(|step| outcome(step).map_err(failed))
                .collect()
        }))
    }
}
