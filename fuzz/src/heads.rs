//! The opening handshake: one verdict, however the head is cut.

use tickyard::config::limits::HEAD_BYTES_MAX;
use tickyard::http::{HeadScan, RequestHead, ResponseHead};
use tickyard::websocket::handshake::{Request, Upgrade};

use super::chunks::cuts;

/// Requests and responses are judged alike in any chunks, and what we answer is HTTP. See [`super::chunks`] for the input.
pub fn handshake(bytes: &[u8]) {
    let [requests, responses] = [request_verdict, response_verdict].map(|verdict| {
        let [first, others @ ..] = cuts(bytes).map(|chunks| scan(&chunks, verdict));
        others.iter().for_each(|other| assert_eq!(&first, other, "the same, however it is cut"));
        first
    });
    let whole = cuts(bytes)[1].concat();
    let read = |what: &Option<String>| what.as_ref().is_some_and(|what| what.starts_with("Ok"));
    assert!(!(read(&requests) && read(&responses)), "a head is either of them");
    if let Ok(Some((head, used))) = RequestHead::parse(&whole) {
        assert!(used <= HEAD_BYTES_MAX && whole[..used].ends_with(b"\r\n\r\n"));
        check_answer(&head);
    }
}

/// The verdict, and how many bytes it took; `None`: not yet.
type Verdict = fn(&mut HeadScan, &[u8]) -> Option<String>;

fn scan(chunks: &[Vec<u8>], verdict: Verdict) -> Option<String> {
    let (mut scan, mut head) = (HeadScan::default(), Vec::new());
    chunks.iter().find_map(|chunk| {
        head.extend_from_slice(chunk);
        verdict(&mut scan, &head)
    })
}

fn request_verdict(scan: &mut HeadScan, bytes: &[u8]) -> Option<String> {
    match scan.request(bytes) {
        Ok(None) => None,
        Ok(Some((head, used))) => {
            let upgrade = Upgrade::check(&head, &["tickyard.v1"]);
            Some(format!("Ok {used} {head:?} {upgrade:?}"))
        }
        Err(error) => Some(format!("{error:?}")),
    }
}

fn response_verdict(scan: &mut HeadScan, bytes: &[u8]) -> Option<String> {
    let wish = Request { host: "a", target: "/", protocol: Some("tickyard.v1"), key: [7; 16], headers: &[] };
    match scan.response(bytes) {
        Ok(None) => None,
        Ok(Some((head, used))) => Some(format!("Ok {used} {head:?} {:?}", wish.check(&head))),
        Err(error) => Some(format!("{error:?}")),
    }
}

/// Our answer can be read, and says what was decided.
fn check_answer(head: &RequestHead) {
    let mut answer = Vec::new();
    let status = match Upgrade::check(head, &["tickyard.v1"]) {
        Ok(upgrade) => {
            upgrade.write(&mut answer);
            101
        }
        Err(refusal) => {
            refusal.write(&mut answer);
            refusal.status().get()
        }
    };
    let (read, used) = ResponseHead::parse(&answer).unwrap().unwrap();
    assert_eq!(read.status, status);
    let accept = read.headers.get("sec-websocket-accept");
    assert_eq!((status == 101, status == 101), (accept.is_some(), used == answer.len()));
}
