use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    process::{Command, Stdio},
    sync::atomic::AtomicU32,
    time::Instant,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use wayleave_discovery::{
    catalog::Statement,
    codec::{Announcement, Carrier, Codec, Decoded, Endpoint, NodeKey, Record},
    community::DiscoveryNumber,
    judge::Facts,
    names::HostName,
    registry::Registration,
};

use super::*;

const DEADLINE: Duration = Duration::from_secs(10);

/// A server on a port of its own of the loopback interface, and what tests change about it.
struct Lab {
    address: SocketAddr,
    catalog: Arc<RwLock<Catalog>>,
    stats: Box<dyn Fn() -> Snapshot + Send + Sync>,
    stop: watch::Sender<bool>,
    server: tokio::task::JoinHandle<()>,
}

impl Lab {
    async fn start(change: impl FnOnce(&mut Settings)) -> Self {
        let mut zone = Zone::new(Zone::DEFAULT_ORIGIN).expect("the default");
        zone.networks
            .extend(wayleave_discovery::answers::Network::new(
                [10, 1, 0, 0].into(),
                16,
            ));
        let mut settings = Settings::new(zone);
        settings.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        change(&mut settings);
        let catalog = Arc::new(RwLock::new(catalog()));
        let server = Server::bind(settings, Arc::clone(&catalog))
            .await
            .expect("a free port");
        let (stop, stopped) = watch::channel(false);
        Self {
            address: server.addresses()[0],
            catalog,
            stats: Box::new(server.stats()),
            stop,
            server: tokio::spawn(server.run(stopped)),
        }
    }

    /// What `dig +short` prints, sorted.
    async fn dig(&self, arguments: &str) -> Option<Vec<String>> {
        let text = self.dig_all(&format!("+short {arguments}")).await?;
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        Some(lines)
    }

    /// What `dig` prints. None, and said so, when there is no dig.
    async fn dig_all(&self, arguments: &str) -> Option<String> {
        if !has_dig() {
            return None;
        }
        let mut dig = tokio::process::Command::new("dig");
        dig.arg(format!("@{}", self.address.ip()))
            .args(["-p", &self.address.port().to_string()]);
        dig.args(["+tries=1", "+time=8"])
            .args(arguments.split_whitespace())
            .kill_on_drop(true);
        let output = timeout(DEADLINE, dig.output())
            .await
            .expect("dig ends")
            .expect("dig runs");
        Some(String::from_utf8(output.stdout).expect("dig prints text"))
    }

    /// What comes back for octets as they are; none when nothing does.
    async fn exchange(&self, request: &[u8]) -> Option<Vec<u8>> {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        socket.send_to(request, self.address).await.expect("sent");
        let mut reply = vec![0; 65_535];
        let length = timeout(Duration::from_millis(500), socket.recv(&mut reply))
            .await
            .ok()?;
        reply.truncate(length.expect("received"));
        Some(reply)
    }
}

/// A missing program is a skipped test, and in CI a failure.
fn has_dig() -> bool {
    let found = Command::new("dig")
        .arg("-v")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if found.is_ok() {
        return true;
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "dig is missing: install bind9-dnsutils"
    );
    eprintln!("SKIPPED: dig is missing; install bind9-dnsutils");
    false
}

fn codec() -> Codec {
    Codec::new(DiscoveryNumber::new(4_200_000_001).expect("a usable number"))
}

fn announcement(registration: &str) -> Arc<Announcement> {
    let registration: Registration = serde_json::from_str(registration).expect("a registration");
    let mut endpoint = Endpoint::new(NodeKey(1));
    endpoint.record.services = vec![registration.service(Default::default())];
    match codec().decode(&codec().encode(&endpoint).expect("small")) {
        Ok(Decoded::Endpoint(announcement)) => Arc::new(announcement),
        other => panic!("{other:?}"),
    }
}

fn put(catalog: &mut Catalog, address: impl Into<IpAddr>, registration: &str) {
    catalog.upsert(
        address.into(),
        Statement::Endpoint(announcement(registration)),
        Facts::LOCAL,
    );
}

const WEB: &str =
    r#"{"name":"web","address":"10.1.7.2","ports":[{"name":"http","port":80}],"tags":["v=1"]}"#;

fn catalog() -> Catalog {
    let mut catalog = Catalog::new();
    put(&mut catalog, [10, 1, 7, 2], WEB);
    put(&mut catalog, [0xfd00, 0, 0, 0, 0, 0, 0, 2], WEB);
    for n in 1..=100 {
        put(
            &mut catalog,
            [10, 1, 9, n],
            r#"{"name":"many","namespace":"shop","address":"10.1.7.2"}"#,
        );
    }
    let carrier = Carrier {
        key: NodeKey(1),
        nonce: 1,
        pools: BTreeMap::new(),
        manifest: None,
        node: Record {
            host: Some(HostName::new("h1").expect("a name")),
            addresses: [[192, 0, 2, 1].into()].into(),
            ..Record::default()
        },
    };
    let address = wayleave_discovery::codec::carrier_address("lab", NodeKey(1));
    catalog.upsert(
        address.into(),
        Statement::Carrier(Arc::new(carrier)),
        Facts::LOCAL,
    );
    catalog
}

/// An upstream that answers every question with the same address and counts them, or does not answer.
async fn upstream(answers: bool) -> (SocketAddr, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let socket = UdpSocket::bind(address).await.expect("a free port");
    let asked = Arc::new(AtomicU32::new(0));
    let reply = |request: &[u8], address: [u8; 4]| {
        let mut reply = request.to_vec();
        reply[2] |= 0x80;
        reply[3] |= 0x80;
        reply[7] = 1;
        // The answer stands before the OPT of the request, which is the last 11 octets when there is one.
        let end = if request[11] == 1 {
            request.len() - 11
        } else {
            request.len()
        };
        let record = [&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4][..], &address].concat();
        reply.splice(end..end, record);
        reply
    };
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut request = vec![0; 65_535];
        while let Ok((length, source)) = socket.recv_from(&mut request).await {
            count.fetch_add(1, Ordering::SeqCst);
            if answers {
                // First one that a forger sent: another identifier.
                let mut forged = reply(&request[..length], [6, 6, 6, 6]);
                forged[0] ^= 1;
                let _ = socket.send_to(&forged, source).await;
                let _ = socket
                    .send_to(&reply(&request[..length], [203, 0, 113, 7]), source)
                    .await;
            }
        }
    });
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            if answers && let Ok(length) = stream.read_u16().await {
                let mut request = vec![0; usize::from(length)];
                let _ = stream.read_exact(&mut request).await;
                let reply = reply(&request, [203, 0, 113, 8]);
                let length = u16::try_from(reply.len()).expect("short");
                let _ = stream
                    .write_all(&[&length.to_be_bytes()[..], &reply].concat())
                    .await;
            }
        }
    });
    (address, asked)
}

/// A plain question: identifier 0x1234, RD, one question of this name and type, class IN.
fn question(name: &str, kind: u16) -> Vec<u8> {
    let mut octets = vec![0x12, 0x34, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        octets.push(u8::try_from(label.len()).expect("a label"));
        octets.extend(label.as_bytes());
    }
    octets.push(0);
    octets.extend(kind.to_be_bytes());
    octets.extend([0, 1]);
    octets
}

#[tokio::test]
async fn while_the_catalog_grows_a_missing_name_is_a_failure_and_a_known_one_is_answered() {
    let lab = Lab::start(|_| {}).await;
    *lab.catalog.write().expect("whole") = Catalog::growing();
    let rcode = |reply: Option<Vec<u8>>| reply.expect("a reply")[3] & 0x0f;
    let missing = question("web.default.svc.wayleave.internal", 1);
    assert_eq!(rcode(lab.exchange(&missing).await), 2, "SERVFAIL");
    assert_eq!((lab.stats)().not_known_yet, 1);
    let apex = question("wayleave.internal", 6);
    assert_eq!(rcode(lab.exchange(&apex).await), 0);
    lab.catalog.write().expect("whole").complete();
    assert_eq!(rcode(lab.exchange(&missing).await), 3, "NXDOMAIN");
    lab.stop.send(true).expect("it runs");
    lab.server.await.expect("it ends");
}

#[tokio::test]
async fn dig_finds_services_nodes_and_names_of_addresses() {
    let lab = Lab::start(|_| {}).await;
    for (question, expected) in [
        ("web.default.svc.wayleave.internal A", &["10.1.7.2"][..]),
        ("WEB.svc.Wayleave.internal A", &["10.1.7.2"]),
        ("web.svc.wayleave.internal AAAA", &["fd00::2"]),
        ("+tcp web.svc.wayleave.internal A", &["10.1.7.2"]),
        (
            "_http._tcp.web.svc.wayleave.internal SRV",
            &[
                "0 1 80 10-1-7-2.addr.wayleave.internal.",
                "0 1 80 fd00-0-0-0-0-0-0-2.addr.wayleave.internal.",
            ],
        ),
        ("10-1-7-2.addr.wayleave.internal A", &["10.1.7.2"]),
        ("h1.node.wayleave.internal A", &["192.0.2.1"]),
        ("-x 10.1.7.2", &["web.default.svc.wayleave.internal."]),
        ("web.svc.wayleave.internal TXT", &["\"v=1\""]),
        ("wayleave.internal NS", &["ns.wayleave.internal."]),
        ("web.svc.wayleave.internal MX", &[]),
        ("nobody.svc.wayleave.internal A", &[]),
    ] {
        let Some(found) = lab.dig(question).await else {
            return;
        };
        assert_eq!(found, expected, "{question}");
    }
}

#[tokio::test]
async fn a_negative_answer_carries_the_soa_and_says_for_how_long() {
    let lab = Lab::start(|_| {}).await;
    for (name, status) in [("nobody.svc", "NXDOMAIN"), ("h1.node", "NOERROR")] {
        let Some(text) = lab.dig_all(&format!("{name}.wayleave.internal AAAA")).await else {
            return;
        };
        assert!(text.contains(&format!("status: {status}")), "{text}");
        assert!(text.contains("flags: qr aa rd"), "{text}");
        assert!(
            text.contains("wayleave.internal.\t5\tIN\tSOA\tns.wayleave.internal. hostmaster."),
            "{text}"
        );
        assert!(!text.contains("WARNING: Message"), "{text}");
    }
}

#[tokio::test]
async fn an_answer_too_long_for_a_datagram_is_truncated_and_whole_over_tcp() {
    let lab = Lab::start(|settings| settings.zone.answer_limit = 200).await;
    let Some(text) = lab
        .dig_all("+ignore +noedns many.shop.svc.wayleave.internal")
        .await
    else {
        return;
    };
    assert!(text.contains("flags: qr aa tc rd"), "{text}");
    let records = text.matches("IN\tA\t10.").count();
    assert!(
        (20..=30).contains(&records),
        "{records} records in 512 octets"
    );
    let size = |text: &str| -> usize {
        let (_, rest) = text
            .split_once("MSG SIZE  rcvd: ")
            .expect("dig says the size");
        rest.trim().parse().expect("a number")
    };
    assert!(size(&text) <= 512);
    let text = lab
        .dig_all("+ignore +bufsize=4096 many.shop.svc.wayleave.internal")
        .await
        .expect("dig");
    assert!(size(&text) <= 1_232 && size(&text) > 1_200, "{text}");
    let whole = lab
        .dig("many.shop.svc.wayleave.internal")
        .await
        .expect("dig");
    assert_eq!(whole.len(), 100, "dig asks again over TCP by itself");
}

#[tokio::test]
async fn a_change_of_the_catalog_is_the_next_answer() {
    let lab = Lab::start(|_| {}).await;
    let request = question("new.svc.wayleave.internal", 1);
    assert_eq!(
        lab.exchange(&request).await.expect("answered")[3] & 0x0f,
        3,
        "NXDOMAIN"
    );
    put(
        &mut lab.catalog.write().expect("whole"),
        [10, 1, 7, 9],
        r#"{"name":"new","address":"10.1.7.9"}"#,
    );
    let reply = lab.exchange(&request).await.expect("answered");
    assert_eq!(
        (reply[3] & 0x0f, &reply[reply.len() - 4..]),
        (0, &[10, 1, 7, 9][..])
    );
}

#[tokio::test]
async fn other_names_are_asked_upstream_once_and_then_known() {
    let (address, asked) = upstream(true).await;
    let lab = Lab::start(|settings| settings.upstreams = vec![address]).await;
    let Some(found) = lab.dig("Example.ORG").await else {
        return;
    };
    assert_eq!(found, ["203.0.113.7"], "and not what a forger said");
    let text = lab.dig_all("eXample.org").await.expect("dig");
    assert!(
        text.contains(";eXample.org.") && text.contains("203.0.113.7"),
        "own spelling: {text}"
    );
    assert_eq!(
        asked.load(Ordering::SeqCst),
        1,
        "the second is from the cache"
    );
    assert_eq!(
        lab.dig("+noedns example.org").await.expect("dig"),
        ["203.0.113.7"]
    );
    assert_eq!(
        lab.dig("+tcp other.org").await.expect("dig"),
        ["203.0.113.8"],
        "TCP stays TCP"
    );
    assert_eq!(
        lab.dig("web.svc.wayleave.internal").await.expect("dig"),
        ["10.1.7.2"]
    );
    assert_eq!(
        asked.load(Ordering::SeqCst),
        3,
        "our own names are asked nowhere"
    );
    assert_eq!((lab.stats)().cache_hits, 1);
}

#[tokio::test]
async fn a_dead_upstream_costs_its_timeout_once_and_the_next_one_answers() {
    let (dead, _) = upstream(false).await;
    let (alive, _) = upstream(true).await;
    let lab = Lab::start(|settings| {
        settings.upstreams = vec![dead, alive];
        settings.upstream_timeout = Duration::from_millis(300);
    })
    .await;
    let Some(found) = lab.dig("one.org").await else {
        return;
    };
    assert_eq!(found, ["203.0.113.7"]);
    let before = Instant::now();
    assert_eq!(lab.dig("two.org").await.expect("dig"), ["203.0.113.7"]);
    assert!(
        before.elapsed() < Duration::from_millis(300),
        "the one that answers is asked first now"
    );
}

#[tokio::test]
async fn dead_upstreams_do_not_delay_our_own_names_and_are_bounded() {
    let (dead, _) = upstream(false).await;
    let lab = Lab::start(|settings| {
        settings.upstreams = vec![dead];
        settings.upstream_timeout = Duration::from_millis(800);
        settings.upstream_questions = 10;
    })
    .await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    socket.connect(lab.address).await.expect("connected");
    for n in 0..50 {
        socket
            .send(&question(&format!("name-{n}.org"), 1))
            .await
            .expect("sent");
    }
    let before = Instant::now();
    assert!(
        lab.exchange(&question("web.svc.wayleave.internal", 1))
            .await
            .is_some()
    );
    assert!(
        before.elapsed() < Duration::from_millis(200),
        "{:?}",
        before.elapsed()
    );
    let mut reply = vec![0; 65_535];
    for n in 0..50 {
        timeout(DEADLINE, socket.recv(&mut reply))
            .await
            .expect("SERVFAIL in time")
            .expect("received");
        assert_eq!(reply[3] & 0x0f, 2, "answer {n}");
        if n == 39 {
            assert!(
                before.elapsed() < Duration::from_millis(600),
                "forty are over the bound at once"
            );
        }
    }
    assert!(
        before.elapsed() < Duration::from_secs(2),
        "within one timeout: {:?}",
        before.elapsed()
    );
    let stats = (lab.stats)();
    assert_eq!((stats.overloaded, stats.upstream_failures), (40, 10));
}

#[test]
fn strangers_are_refused_with_fewer_octets_than_they_sent() {
    let shared = Shared {
        settings: Settings {
            clients: vec!["10.0.0.0/8".parse().expect("a network")],
            ..Settings::new(Zone::new("wayleave.internal").expect("a zone"))
        },
        catalog: Arc::new(RwLock::new(catalog())),
        forwarder: Forwarder::new(&Settings::new(Zone::new("x").expect("a zone"))),
        stats: Stats::default(),
        seed: AtomicU64::new(1),
    };
    let request = question("web.svc.wayleave.internal", 1);
    let mut reply = Vec::new();
    for (source, may) in [
        ("10.1.2.3", true),
        ("::ffff:10.1.2.3", true),
        ("127.0.0.9", true),
        ("::1", true),
        ("192.0.2.1", false),
        ("2001:db8::1", false),
    ] {
        let source: IpAddr = source.parse().expect(source);
        assert!(matches!(
            shared.answer(source, Transport::Udp, &request, &mut reply),
            Action::Reply
        ));
        assert_eq!(reply[3] & 0x0f == 0, may, "{source}");
        assert!(
            may || (reply[3] & 0x0f == 5 && reply.len() <= request.len()),
            "{source}"
        );
    }
}

#[tokio::test]
async fn what_is_malformed_gets_formerr_or_nothing_and_the_server_lives() {
    let lab = Lab::start(|_| {}).await;
    let good = question("web.svc.wayleave.internal", 1);
    let with = |at: usize, value: u8| {
        let mut octets = good.clone();
        octets[at] = value;
        octets
    };
    let pointer_loop = [&good[..12], &[0xc0, 12, 0, 1, 0, 1]].concat();
    let two_opt = {
        let mut octets = with(11, 2);
        octets.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0].repeat(2));
        octets
    };
    let version_1 = {
        let mut octets = with(11, 1);
        octets.extend([0, 0, 41, 4, 208, 0, 1, 0, 0, 0, 0]);
        octets
    };
    let class_chaos = with(good.len() - 1, 3);
    for (what, octets, expected) in [
        ("good", good.clone(), Some(0)),
        ("nothing", vec![], None),
        ("half a header", good[..6].to_vec(), None),
        ("an answer", with(2, 0x81), None),
        ("no question", with(5, 0), Some(1)),
        ("two questions", with(5, 2), Some(1)),
        ("a cut question", good[..20].to_vec(), Some(1)),
        ("a name that points to itself", pointer_loop, Some(1)),
        ("records that are not there", with(11, 200), Some(1)),
        ("two OPT records", two_opt, Some(1)),
        ("a notification", with(2, 0x20), Some(4)),
        ("another class", class_chaos, Some(5)),
        ("EDNS of version 1", version_1, Some(0)),
        ("good again", good.clone(), Some(0)),
    ] {
        let reply = lab.exchange(&octets).await;
        assert_eq!(
            reply.as_ref().map(|reply| reply[3] & 0x0f),
            expected,
            "{what}"
        );
        if what == "EDNS of version 1" {
            let reply = reply.expect("answered");
            assert_eq!(
                reply[reply.len() - 6],
                1,
                "BADVERS is 16: its upper part stands in OPT"
            );
        }
    }
    assert_eq!((lab.stats)().questions, 14);
}

#[tokio::test]
async fn one_source_does_not_take_all_connections() {
    let lab = Lab::start(|settings| settings.tcp_connections = (100, 3)).await;
    let request = question("web.svc.wayleave.internal", 1);
    let framed = [
        &u16::try_from(request.len()).expect("short").to_be_bytes()[..],
        &request,
    ]
    .concat();
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(lab.address).await.expect("connected");
        // Two questions in one write have two answers in their order.
        stream.write_all(&framed.repeat(2)).await.expect("written");
        for _ in 0..2 {
            let length = timeout(DEADLINE, stream.read_u16())
                .await
                .expect("in time")
                .expect("answered");
            let mut reply = vec![0; usize::from(length)];
            stream.read_exact(&mut reply).await.expect("answered");
            assert_eq!(reply[3] & 0x0f, 0);
        }
        open.push(stream);
    }
    let mut fourth = TcpStream::connect(lab.address)
        .await
        .expect("connected by the kernel");
    let closed = timeout(DEADLINE, fourth.read_u16()).await.expect("in time");
    assert!(closed.is_err(), "the fourth is closed");
    drop(open);
    let deadline = Instant::now() + DEADLINE;
    loop {
        let mut again = TcpStream::connect(lab.address).await.expect("connected");
        let _ = again.write_all(&framed).await;
        if matches!(timeout(DEADLINE, again.read_u16()).await, Ok(Ok(_))) {
            break;
        }
        assert!(Instant::now() < deadline, "places are never free again");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn errors_of_binding_are_sentences() {
    let lab = Lab::start(|_| {}).await;
    let bind = |listen: SocketAddr, upstreams: Vec<SocketAddr>| {
        let catalog = Arc::clone(&lab.catalog);
        async move {
            let mut settings = Settings::new(Zone::new("wayleave.internal").expect("a zone"));
            settings.listen = vec![listen];
            settings.upstreams = upstreams;
            Server::bind(settings, catalog)
                .await
                .map(|_| ())
                .expect_err("refused")
                .to_string()
        }
    };
    let taken = bind(lab.address, vec![]).await;
    assert!(
        taken.contains("the port is taken") && taken.contains(&lab.address.to_string()),
        "{taken}"
    );
    let wildcard = bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), vec![]).await;
    assert!(wildcard.contains("name each address"), "{wildcard}");
    let foreign = bind("192.0.2.254:0".parse().expect("an address"), vec![]).await;
    assert!(foreign.contains("no interface of this host"), "{foreign}");
}

#[tokio::test]
async fn shutdown_frees_the_port() {
    let lab = Lab::start(|_| {}).await;
    lab.stop.send(true).expect("the server runs");
    timeout(DEADLINE, lab.server)
        .await
        .expect("it ends")
        .expect("without a panic");
    UdpSocket::bind(lab.address)
        .await
        .expect("the port is free");
    TcpListener::bind(lab.address)
        .await
        .expect("the port is free");
}

/// A few thousand requests made of good ones by damage: what a fuzzer would begin with.
#[test]
fn damaged_requests_are_answered_by_the_rules() {
    let mut seed = 1u64;
    let mut dice = move || {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).expect("31 bits")
    };
    let mut good = question("_http._tcp.web.svc.wayleave.internal", 33);
    good[11] = 1;
    good.extend([0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0]);
    fuzz_one(&good);
    fuzz_one(&question("example.org", 1));
    for length in 0..good.len() {
        fuzz_one(&good[..length]);
    }
    for _ in 0..20_000 {
        let mut octets = good.clone();
        for _ in 0..=dice() % 4 {
            let at = dice() % octets.len();
            octets[at] = u8::try_from(dice() % 256).expect("an octet");
        }
        octets.truncate(12 + dice() % octets.len());
        fuzz_one(&octets);
    }
}
