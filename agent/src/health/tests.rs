use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::watch,
    time::timeout,
};
use wayleave_discovery::health::CheckKind;

use super::*;

const DEADLINE: Duration = Duration::from_secs(10);
const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn quick(kind: CheckKind) -> CheckSpec {
    CheckSpec {
        interval: Duration::from_millis(20),
        timeout: Duration::from_millis(300),
        rise: 2,
        fall: 2,
        hold: Duration::ZERO,
        ..CheckSpec::new(kind)
    }
}

fn http(port: u16) -> CheckKind {
    CheckKind::Http {
        port,
        path: "/healthz".into(),
        host: None,
        status: (200, 299),
    }
}

fn id(text: &str) -> InstanceId {
    InstanceId::new(text).expect(text)
}

async fn next(runner: &mut Runner) -> (Health, String) {
    let report = timeout(DEADLINE, runner.next())
        .await
        .expect("a report in time");
    (report.health, report.why.unwrap_or_default())
}

/// A server that answers each connection with what the channel holds: nothing at all when empty.
async fn server(answer: &'static str) -> (u16, watch::Sender<&'static str>, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((LOOPBACK, 0)).await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let (sender, answer) = watch::channel(answer);
    let open = Arc::new(AtomicUsize::new(0));
    let most = Arc::clone(&open);
    tokio::spawn(async move {
        let current = Arc::new(AtomicUsize::new(0));
        while let Ok((mut stream, _)) = listener.accept().await {
            let (answer, current, most) = (answer.clone(), Arc::clone(&current), Arc::clone(&most));
            tokio::spawn(async move {
                most.fetch_max(current.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let mut request = [0; 1_024];
                let _ = stream.read(&mut request).await;
                let text = *answer.borrow();
                if text.is_empty() {
                    // Until the other side gives up.
                    let _ = stream.read(&mut request).await;
                } else {
                    let _ = stream.write_all(text.as_bytes()).await;
                }
                current.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    (port, sender, open)
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn a_tcp_check_follows_its_target_up_and_down() {
    let mut runner = Runner::new(Runner::DEFAULT_LIMIT, 1);
    let listener = TcpListener::bind((LOOPBACK, 0)).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    runner.watch(
        &id("a"),
        LOOPBACK,
        &[quick(CheckKind::Tcp {
            port: address.port(),
        })],
        Health::Starting,
    );
    assert_eq!(next(&mut runner).await, (Health::Passing, String::new()));
    drop(listener);
    let (health, why) = next(&mut runner).await;
    assert_eq!(health, Health::Failing);
    assert_eq!(
        why,
        format!("no TCP connection to {address}: nobody answers there")
    );
    let _listener = TcpListener::bind(address)
        .await
        .expect("the port is free again");
    assert_eq!(next(&mut runner).await.0, Health::Passing);
}

#[tokio::test]
async fn an_http_check_judges_the_status_and_says_what_it_was() {
    let (port, answer, _) = server(OK).await;
    let mut runner = Runner::new(Runner::DEFAULT_LIMIT, 1);
    runner.watch(&id("a"), LOOPBACK, &[quick(http(port))], Health::Starting);
    assert_eq!(next(&mut runner).await.0, Health::Passing);
    for (text, part) in [
        (BUSY, "was answered with 503, wanted 200 to 299"),
        ("SSH-2.0-OpenSSH_9.2p1\r\n", "failed: "),
        ("", "no answer within 300ms"),
    ] {
        answer.send(text).expect("the server runs");
        let (health, why) = next(&mut runner).await;
        assert_eq!(health, Health::Failing, "{text:?}");
        assert!(why.contains(part), "{text:?}: {why}");
        answer.send(OK).expect("the server runs");
        assert_eq!(next(&mut runner).await.0, Health::Passing);
    }
}

#[tokio::test]
async fn an_address_is_as_healthy_as_the_worst_of_its_checks() {
    let (good, _good, _) = server(OK).await;
    let (other, answer, _) = server(OK).await;
    let mut runner = Runner::new(Runner::DEFAULT_LIMIT, 1);
    let checks = [quick(http(good)), quick(http(other))];
    runner.watch(&id("a"), LOOPBACK, &checks, Health::Starting);
    assert_eq!(
        next(&mut runner).await.0,
        Health::Passing,
        "once, when both pass"
    );
    answer.send(BUSY).expect("the server runs");
    let (health, why) = next(&mut runner).await;
    assert_eq!(health, Health::Failing);
    assert!(
        why.contains(&other.to_string()),
        "the reason is that of the one that fails: {why}"
    );
}

#[tokio::test]
async fn what_is_forgotten_is_not_reported_and_not_asked_again() {
    let (port, answer, _) = server("").await;
    let mut runner = Runner::new(Runner::DEFAULT_LIMIT, 1);
    runner.watch(&id("a"), LOOPBACK, &[quick(http(port))], Health::Passing);
    runner.watch(&id("b"), LOOPBACK, &[quick(http(port))], Health::Passing);
    let first = timeout(DEADLINE, runner.next())
        .await
        .expect("in time")
        .instance;
    runner.forget(&id("a"), LOOPBACK);
    runner.forget(&id("b"), LOOPBACK);
    assert_eq!(
        (
            runner.attempts(),
            runner.deadlines.len(),
            runner.waiting.len()
        ),
        (0, 0, 0)
    );
    answer.send(OK).expect("the server runs");
    assert!(
        timeout(Duration::from_millis(100), runner.next())
            .await
            .is_err(),
        "nothing is checked"
    );
    runner.watch(&first, LOOPBACK, &[quick(http(port))], Health::Failing);
    assert_eq!(
        next(&mut runner).await.0,
        Health::Passing,
        "it could have been reported"
    );
}

#[tokio::test]
async fn attempts_are_bounded_and_those_that_wait_are_not_failures() {
    let (port, _answer, most) = server(OK).await;
    let mut runner = Runner::new(2, 1);
    for n in 0..40 {
        let spec = CheckSpec {
            interval: Duration::from_secs(60),
            timeout: Duration::from_secs(5),
            ..quick(http(port))
        };
        runner.watch(&id(&format!("n{n}")), LOOPBACK, &[spec], Health::Starting);
    }
    for _ in 0..40 {
        assert_eq!(next(&mut runner).await, (Health::Passing, String::new()));
        assert!(runner.attempts() <= 2);
    }
    let most = most.load(Ordering::SeqCst);
    assert!((1..=2).contains(&most), "{most} attempts at once");
}

#[tokio::test]
async fn a_result_that_comes_late_does_not_end_the_attempt_after_it() {
    let (port, _answer, _) = server("").await;
    let mut runner = Runner::new(2, 1);
    let spec = CheckSpec {
        timeout: Duration::from_millis(20),
        ..quick(http(port))
    };
    runner.watch(&id("a"), LOOPBACK, &[spec], Health::Starting);
    let key = Key {
        watch: 0,
        ordinal: 0,
    };
    let begun = |runner: &Runner| runner.under_way.get(&key).map(|(number, _)| *number);
    let mut first = None;
    let second = loop {
        tokio::time::sleep(Duration::from_millis(5)).await;
        runner.take_due();
        let now = begun(&runner);
        match (first, now) {
            (None, _) => first = now,
            (Some(first), Some(now)) if first != now => break now,
            (Some(_), _) => {}
        }
    };
    let first = first.expect("there was one before");
    runner.take_result(key, first, Outcome::Pass);
    assert_eq!(
        begun(&runner),
        Some(second),
        "still there to be counted and ended"
    );
    runner.take_result(key, second, Outcome::Pass);
    assert_eq!(runner.attempts(), 0);
    assert_eq!(runner.reports.len(), 1);
}

#[tokio::test]
async fn a_target_that_never_answers_does_not_hold_up_the_others() {
    let (silent, _keep, _) = server("").await;
    let (good, _good, _) = server(OK).await;
    let mut runner = Runner::new(Runner::DEFAULT_LIMIT, 1);
    let spec = |port, timeout| CheckSpec {
        interval: DEADLINE,
        timeout,
        ..quick(http(port))
    };
    for n in 0..20 {
        let patient = spec(silent, Duration::from_secs(9));
        runner.watch(
            &id(&format!("silent{n}")),
            LOOPBACK,
            &[patient],
            Health::Starting,
        );
    }
    runner.watch(
        &id("good"),
        LOOPBACK,
        &[spec(good, Duration::from_secs(9))],
        Health::Starting,
    );
    let report = timeout(Duration::from_secs(2), runner.next())
        .await
        .expect("in time");
    assert_eq!(
        (report.instance, report.health),
        (id("good"), Health::Passing)
    );
}
