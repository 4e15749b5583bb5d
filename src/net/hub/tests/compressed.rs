//! Compression costs time, and everybody's: what a turn of the loop takes of it, and who waits for whom.

use super::*;
use crate::config::limits::{ANSWERS_BYTES_MAX, DEFLATE_COST_PER_CONNECTION, DEFLATE_COST_PER_TURN};
use crate::session::site::Compression;
use crate::websocket::deflate::INFLATE_COST;

/// A hub that compresses.
fn compressing() -> Hub<Line> {
    let mut hub = hub(None);
    Arc::get_mut(&mut hub.desk.shared).expect("nobody shares it yet").site.deflate = Compression::On;
    hub
}

/// A peer on `/echo`, with its slot.
fn upgraded(hub: &mut Hub<Line>, offer: &str) -> (Line, usize) {
    let line = Line::wide();
    line.say(
        format!(
            "GET /echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n"
        )
        .as_bytes(),
    );
    let slot = admit(hub, &line);
    turn(hub, START);
    assert!(line.heard().starts_with(b"HTTP/1.1 101 "));
    (line, slot)
}

const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
/// A compressed message that says "Hello" (RFC 7692, 7.2.3.1), masked with zeros.
const HELLO: &[u8] = b"\xc2\x87\0\0\0\0\xf2\x48\xcd\xc9\xc9\x07\x00";
const ECHO: &[u8] = b"\x82\x05Hello";
const COST: usize = INFLATE_COST + 7;

#[test]
fn a_turn_inflates_so_much_and_the_rest_comes_in_order_in_the_next_ones() {
    let mut hub = compressing();
    let (line, slot) = upgraded(&mut hub, OFFER);
    let count = 1000;
    line.say(&HELLO.repeat(count));
    line.say(&[0x82, 0x81, 0, 0, 0, 0, b'!']);
    hub.wake(slot, true, false, false);
    let (mut heard, mut turns) = (Vec::new(), 0);
    while hub.is_busy() {
        turn(&mut hub, START);
        let answer = line.heard();
        assert!(answer.len() / ECHO.len() <= DEFLATE_COST_PER_CONNECTION / COST + 1, "{}", answer.len());
        heard.extend(answer);
        turns += 1;
    }
    assert_eq!(heard, [&ECHO.repeat(count)[..], b"\x82\x01!"].concat());
    assert!(turns >= count * COST / DEFLATE_COST_PER_CONNECTION, "{turns}");
}

#[test]
fn who_asks_for_much_waits_for_the_others_and_who_compresses_nothing_for_nobody() {
    let mut hub = compressing();
    let greedy: Vec<_> = (0..50).map(|_| upgraded(&mut hub, OFFER)).collect();
    let (modest, modest_slot) = upgraded(&mut hub, OFFER);
    let (plain, plain_slot) = upgraded(&mut hub, "");
    for (line, slot) in &greedy {
        line.say(&HELLO.repeat(1000));
        hub.wake(*slot, true, false, false);
    }
    modest.say(HELLO);
    plain.say(&[0x82, 0x81, 0, 0, 0, 0, b'!']);
    hub.wake(modest_slot, true, false, false);
    hub.wake(plain_slot, true, false, false);

    let mut served = vec![0; greedy.len()];
    let mut waited = 0;
    loop {
        turn(&mut hub, START);
        assert_eq!(plain.heard() == b"\x82\x01!", waited == 0, "at once");
        let echoes: Vec<usize> = greedy.iter().map(|(line, _)| line.heard().len() / ECHO.len()).collect();
        let cost = echoes.iter().sum::<usize>() * COST;
        assert!(cost < DEFLATE_COST_PER_TURN + DEFLATE_COST_PER_CONNECTION + COST, "{cost}");
        served.iter_mut().zip(echoes).for_each(|(sum, echoes)| *sum += echoes);
        if !modest.heard().is_empty() {
            break;
        }
        waited += 1;
    }
    let shares = greedy.len() * (DEFLATE_COST_PER_CONNECTION + COST);
    assert!((1..=shares / DEFLATE_COST_PER_TURN).contains(&waited), "{waited}");
    let share = DEFLATE_COST_PER_CONNECTION / COST + 1;
    // And in the turn in which it was served, some have begun with their next one.
    assert!(served.iter().all(|&echoes| [share, 2 * share].contains(&echoes)), "{served:?}");
}

#[test]
fn echoes_that_nobody_reads_stop_the_inflating_too() {
    let mut hub = compressing();
    let (line, slot) = upgraded(&mut hub, &OFFER.replace("\r\n", "; server_no_context_takeover\r\n"));
    // 200 kB of noise, and the same again by reference: what is small to say is not small to answer.
    let mut noise = 1_u32;
    let mut next = || {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (noise >> 24) as u8
    };
    let message: Vec<u8> = (0..30_000).map(|_| next()).collect::<Vec<u8>>().repeat(8);
    let mut payload = Vec::with_capacity(50_000);
    let mut deflater = flate2::Compress::new(flate2::Compression::best(), false);
    deflater.compress_vec(&message, &mut payload, flate2::FlushCompress::Sync).unwrap();
    payload.truncate(payload.len() - 4);
    assert!(payload.len() < 40_000);
    let header = [&[0xc2, 0xfe][..], &(payload.len() as u16).to_be_bytes(), &[0; 4]].concat();
    line.0.borrow_mut().room = 0;
    for _ in 0..40 {
        line.say(&header);
        line.say(&payload);
    }
    hub.wake(slot, true, false, false);
    for _ in 0..100 {
        turn(&mut hub, START);
    }
    assert!(!hub.is_busy(), "it waits for its reader");
    let held = hub.held_bytes().next().unwrap();
    assert!(held < 2 * (ANSWERS_BYTES_MAX + message.len()), "{held}");

    line.0.borrow_mut().room = usize::MAX;
    hub.wake(slot, false, true, false);
    while hub.is_busy() {
        turn(&mut hub, START);
    }
    let echoes = line.heard();
    let len = 4 + u16::from_be_bytes([echoes[2], echoes[3]]) as usize;
    assert_eq!((echoes[0], echoes.len()), (0xc2, 40 * len), "all of them");
}
