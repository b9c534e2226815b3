//! Lists in pages, from an agent that gives them out a few at a time.

use std::{
    io::{Read, Write},
    os::unix::net::UnixListener,
    thread,
};

use serde_json::{Value, json};

use crate::place::{Directory, wayleave};

/// Answers requests one after the other with these, and says what was asked for.
pub(crate) fn answering(
    directory: &Directory,
    answers: Vec<Value>,
) -> (std::path::PathBuf, thread::JoinHandle<Vec<String>>) {
    let socket = directory.path().join("wayleave.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let asked = thread::spawn(move || {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut buffer = [0; 1024];
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                let len = stream.read(&mut buffer).unwrap();
                request.extend_from_slice(&buffer[..len]);
            }
            let request = String::from_utf8(request).unwrap();
            asked.push(request.split(' ').nth(1).unwrap().to_owned());
            let answer = answer.to_string();
            let length = answer.len();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{answer}"
            )
            .unwrap();
        }
        asked
    });
    (socket, asked)
}

fn endpoint(address: &str) -> Value {
    json!({"address": address, "believed": true, "distance": 0, "node": "h1", "services": []})
}

fn pages() -> Vec<Value> {
    vec![
        json!({"index": 7, "endpoints": [endpoint("10.1.7.1"), endpoint("10.1.7.2")], "next": "10.1.7.2"}),
        json!({"index": 8, "endpoints": [endpoint("fd00::1")], "next": "fd00::1"}),
        json!({"index": 9, "endpoints": [endpoint("fd00::2")]}),
    ]
}

#[test]
fn json_of_many_pages_is_one_object_and_the_table_one_table() {
    let directory = Directory::new();
    let (socket, asked) = answering(&directory, pages());
    let output = wayleave(&socket, &["endpoints", "--service", "a/b", "-o", "json"]);
    assert!(output.status.success());
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let addresses: Vec<_> = found["endpoints"].as_array().unwrap().iter().collect();
    assert_eq!(addresses.len(), 4);
    assert_eq!(addresses[3]["address"], "fd00::2");
    assert_eq!(found["index"], 7, "what the list began with");
    assert_eq!(found.get("next"), None);
    assert_eq!(
        asked.join().unwrap(),
        [
            "/v1/endpoints?service=a%2Fb&limit=5000",
            "/v1/endpoints?service=a%2Fb&limit=5000&after=10.1.7.2",
            "/v1/endpoints?service=a%2Fb&limit=5000&after=fd00%3A%3A1",
        ]
    );

    let directory = Directory::new();
    let (socket, asked) = answering(&directory, pages());
    let output = wayleave(&socket, &["endpoints"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.matches("ADDRESS").count(), 1, "{text}");
    assert_eq!(text.lines().count(), 5, "{text}");
    asked.join().unwrap();
}

#[test]
fn an_agent_that_repeats_itself_is_not_asked_for_ever() {
    let directory = Directory::new();
    let page = json!({"index": 7, "endpoints": [endpoint("10.1.7.1")], "next": "10.1.7.1"});
    let (socket, asked) = answering(&directory, vec![page.clone(), page]);
    let output = wayleave(&socket, &["endpoints"]);
    assert!(output.status.success());
    assert_eq!(asked.join().unwrap().len(), 2);
}

#[test]
fn an_answer_of_another_shape_asks_whether_the_versions_agree() {
    let directory = Directory::new();
    let (socket, asked) = answering(&directory, vec![json!({"endpoints": 3})]);
    let output = wayleave(&socket, &["endpoints"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("of one version?"), "{said}");
    asked.join().unwrap();
}
