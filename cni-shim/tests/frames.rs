//! Frames over a socket pair: what is sent arrives, what is damaged is refused.
#![allow(
    clippy::unwrap_used,
    reason = "the makers of test data are no tests themselves"
)]

use std::fs::File;
use std::io::{IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, sendmsg, socketpair,
};
use proptest::prelude::*;
use wayleave_cni::frame::{Channel, FrameError, TEXT_MAX, VERSION};

fn pair() -> (OwnedFd, OwnedFd) {
    socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )
    .unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

fn send_raw(socket: &OwnedFd, data: &[u8], descriptors: &[RawFd]) {
    let rights = [ControlMessage::ScmRights(descriptors)];
    let control = if descriptors.is_empty() {
        &rights[..0]
    } else {
        &rights[..]
    };
    let data = [IoSlice::new(data)];
    sendmsg::<UnixAddr>(socket.as_raw_fd(), &data, control, MsgFlags::empty(), None).unwrap();
}

fn frame(version: u8, descriptors: u8, text: &str) -> Vec<u8> {
    let mut frame = vec![b'W', b'L', version, descriptors];
    frame.extend((text.len() as u32).to_be_bytes());
    frame.extend(text.as_bytes());
    frame
}

#[test]
fn descriptors_arrive_open_and_close_on_exec() {
    let (ours, theirs) = pair();
    let (mut reader, writer) = std::io::pipe().unwrap();
    Channel::new(ours)
        .send(&"hello", &[writer.as_fd(), writer.as_fd()], soon())
        .unwrap();
    drop(writer);
    let (text, mut descriptors) = Channel::new(theirs).receive::<String>(soon()).unwrap();
    assert_eq!((text.as_str(), descriptors.len()), ("hello", 2));
    for descriptor in &descriptors {
        let flags = nix::fcntl::fcntl(descriptor, nix::fcntl::FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags, nix::fcntl::FdFlag::FD_CLOEXEC.bits());
    }
    File::from(descriptors.remove(0))
        .write_all(b"through")
        .unwrap();
    drop(descriptors);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(
        text, "through",
        "the pipe ends, so no descriptor was left behind"
    );
}

#[test]
fn frames_that_are_not_as_they_should_be_are_refused_each_for_its_reason() {
    let null = File::open("/dev/null").unwrap();
    let null = null.as_raw_fd();
    let mut longer = frame(VERSION, 0, "\"x\"");
    longer[7] = 1;
    let mut huge = frame(VERSION, 0, "\"x\"");
    huge[4] = 0x40;
    for (data, descriptors, wanted) in [
        (
            b"GET / HTTP/1.0\r\n\r\n".to_vec(),
            vec![],
            "not a Wayleave frame",
        ),
        (b"WL".to_vec(), vec![], "not a Wayleave frame"),
        (
            frame(VERSION + 1, 0, "\"x\""),
            vec![],
            "version 2 of the CNI frames",
        ),
        (huge, vec![], "is too large: at most 1048576"),
        (longer, vec![], "longer than its header says"),
        (vec![b'W'; 40_000], vec![], "a packet is too large"),
        (
            frame(VERSION, 2, "\"x\""),
            vec![null],
            "2 descriptors were announced and 1 came",
        ),
        (
            frame(VERSION, 0, "\"x\""),
            vec![null],
            "0 descriptors were announced and 1 came",
        ),
        (
            frame(VERSION, 200, "\"x\""),
            vec![null; 200],
            "200 descriptors were announced and 200 came",
        ),
        (
            frame(VERSION, 0, "{\"x\":1}"),
            vec![],
            "could not be understood",
        ),
        (frame(VERSION, 0, "\"x"), vec![], "could not be understood"),
    ] {
        let (ours, theirs) = pair();
        send_raw(&ours, &data, &descriptors);
        let before = open_descriptors();
        let error = Channel::new(theirs)
            .receive::<String>(soon())
            .unwrap_err()
            .to_string();
        assert!(error.contains(wanted), "{error}");
        // The receiving end was closed by `drop`; nothing that came is left open. Other tests run beside this one.
        let grown = open_descriptors().saturating_sub(before);
        assert!(grown < 100, "{grown} descriptors leaked");
    }
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn an_end_within_a_frame_is_an_end_and_silence_is_a_timeout() {
    let (ours, theirs) = pair();
    let mut half = frame(VERSION, 0, "\"x\"");
    half[7] = 200;
    send_raw(&ours, &half, &[]);
    drop(ours);
    let error = Channel::new(theirs).receive::<String>(soon()).unwrap_err();
    assert!(matches!(error, FrameError::Closed), "{error}");

    let (_ours, theirs) = pair();
    let start = Instant::now();
    let error = Channel::new(theirs)
        .receive::<String>(start + Duration::from_millis(50))
        .unwrap_err();
    assert!(matches!(error, FrameError::Timeout), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_peer_that_sends_in_drops_cannot_stretch_the_deadline() {
    let (ours, theirs) = pair();
    let mut start_of = frame(VERSION, 0, "\"");
    start_of[5] = 1;
    send_raw(&ours, &start_of, &[]);
    let dripping = thread::spawn(move || {
        let drip = [IoSlice::new(b"x")];
        let fd = ours.as_raw_fd();
        while sendmsg::<UnixAddr>(fd, &drip, &[], MsgFlags::MSG_NOSIGNAL, None).is_ok() {
            thread::sleep(Duration::from_millis(5));
        }
    });
    let start = Instant::now();
    let channel = Channel::new(theirs);
    let error = channel
        .receive::<String>(start + Duration::from_millis(100))
        .unwrap_err();
    assert!(matches!(error, FrameError::Timeout), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5));
    drop(channel);
    dripping.join().unwrap();
}

#[test]
fn a_message_too_large_to_be_received_is_not_sent() {
    let (ours, _theirs) = pair();
    let error = Channel::new(ours)
        .send(&"x".repeat(TEXT_MAX), &[], soon())
        .unwrap_err();
    assert!(matches!(error, FrameError::TooLarge(_)), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_text_of_any_length_arrives_as_it_was(len in 0usize..TEXT_MAX - 2, seed in any::<u8>()) {
        let (ours, theirs) = pair();
        let sent: String = (0..len).map(|i| char::from(b'a' + ((i as u8).wrapping_add(seed) % 26))).collect();
        let text = sent.clone();
        let sender = thread::spawn(move || Channel::new(ours).send(&text, &[], soon()));
        let (received, descriptors) = Channel::new(theirs).receive::<String>(soon()).unwrap();
        sender.join().unwrap().unwrap();
        prop_assert_eq!(received, sent);
        prop_assert!(descriptors.is_empty());
    }
}
