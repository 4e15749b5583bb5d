//! What a frame costs: `cargo bench --bench frame`.
//!
//! `read` is all that happens between the socket's bytes and an event; `write` is what a composer does per
//! client. `mask` compares the word-wise loop with its definition. `deflate` and `inflate` are the same with compression, of a chat
//! line and of 4 KiB of JSON, by itself and on top of 32 KiB that were said before.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
#[cfg(feature = "deflate")]
use tickyard::http::RequestHead;
#[cfg(feature = "deflate")]
use tickyard::websocket::deflate::{Agreement, Terms, Writer, offer};
use tickyard::websocket::frame::{Opcode, SERVER_HEADER_BYTES_MAX, fill_server_header, write_frame};
use tickyard::websocket::{Limits, Role, WebSocket, mask};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const LIMITS: Limits = Limits { message_bytes_max: 64 * 1024, fragments_max: 64 };
/// An input, a tick message, a snapshot.
const LENGTHS: [usize; 3] = [24, 230, 16 * 1024];

fn masks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mask");
    for len in LENGTHS {
        group.throughput(Throughput::Bytes(len as u64));
        let mut payload = vec![7; len];
        group.bench_function(BenchmarkId::new("fast", len), |bencher| {
            bencher.iter(|| mask::apply(black_box(&mut payload), black_box(KEY)));
        });
        group.bench_function(BenchmarkId::new("naive", len), |bencher| {
            bencher.iter(|| mask::apply_naive(black_box(&mut payload), black_box(KEY)));
        });
    }
    group.finish();
}

fn reads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read");
    for len in LENGTHS {
        let mut frame = Vec::new();
        write_frame(&mut frame, Opcode::Binary, &vec![7; len], Some(KEY));
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new("whole", len), |bencher| {
            bencher.iter_batched_ref(
                || frame.clone(),
                |frame| read(&mut server(), &mut [frame]),
                BatchSize::SmallInput,
            );
        });
        let (start, end) = frame.split_at(len / 2);
        group.bench_function(BenchmarkId::new("cut", len), |bencher| {
            let mut socket = server();
            bencher.iter_batched_ref(
                || (start.to_vec(), end.to_vec()),
                |(start, end)| read(&mut socket, &mut [start, end]),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn writes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("write");
    for len in LENGTHS {
        let payload = vec![7; len];
        let mut out = Vec::with_capacity(2 * len + 64);
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new("server", len), |bencher| {
            bencher.iter(|| {
                out.clear();
                write_frame(&mut out, Opcode::Binary, black_box(&payload), None);
            });
        });
        group.bench_function(BenchmarkId::new("client", len), |bencher| {
            bencher.iter(|| {
                out.clear();
                write_frame(&mut out, Opcode::Binary, black_box(&payload), Some(KEY));
            });
        });
        let mut composed = vec![7; SERVER_HEADER_BYTES_MAX + len];
        group.bench_function(BenchmarkId::new("in place", len), |bencher| {
            bencher.iter(|| fill_server_header(black_box(&mut composed), Opcode::Binary));
        });
    }
    group.finish();
}

fn server() -> WebSocket {
    WebSocket::new(Role::Server, LIMITS)
}

fn read(socket: &mut WebSocket, pieces: &mut [&mut Vec<u8>]) {
    for piece in pieces {
        let mut input = &mut piece[..];
        while let Some(event) = socket.read(&mut input).expect("the frame is valid") {
            black_box(event);
        }
    }
}

/// What both sides agreed on.
#[cfg(feature = "deflate")]
fn agreement(params: &str) -> Option<Agreement> {
    let request =
        format!("GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Extensions: permessage-deflate{params}\r\n\r\n");
    let (head, _) = RequestHead::parse(request.as_bytes()).expect("a request").expect("it is whole");
    offer::accept(&head.headers, Terms::AsOffered)
}

#[cfg(feature = "deflate")]
fn compression(criterion: &mut Criterion) {
    const FRESH: &str = "; server_no_context_takeover; client_no_context_takeover";
    let chat =
        b"anyone up for another round? the coins in the north-east corner are mine this time!".to_vec();
    let json: String = (0..60)
        .map(|at| format!("{{\"id\":{at},\"name\":\"player-{at}\",\"x\":{},\"y\":7}},", at * 37))
        .collect();
    let json = json.into_bytes()[..2048].repeat(2);
    for (what, params, before) in [("fresh", FRESH, 0), ("takeover", "", 8)] {
        for (name, message) in [("chat line", &chat), ("4 KiB", &json)] {
            let mut writer = Writer::new(agreement(params), Role::Client);
            let mut socket = server().with_deflate(agreement(params));
            let mut frame = Vec::new();
            for _ in 0..before {
                frame.clear();
                writer.write(&mut frame, Opcode::Binary, &json, Some(KEY));
                read(&mut socket, &mut [&mut frame]);
            }
            let mut group = criterion.benchmark_group("deflate");
            group.bench_function(BenchmarkId::new(what, name), |bencher| {
                let mut writer = writer.clone();
                let mut out = Vec::new();
                bencher.iter(|| {
                    out.clear();
                    writer.write(&mut out, Opcode::Binary, black_box(message), Some(KEY))
                });
            });
            group.finish();
            let mut group = criterion.benchmark_group("inflate");
            frame.clear();
            writer.write(&mut frame, Opcode::Binary, message, Some(KEY));
            group.bench_function(BenchmarkId::new(what, name), |bencher| {
                bencher.iter_batched_ref(
                    || (frame.clone(), socket.clone()),
                    |(frame, socket)| read(socket, &mut [frame]),
                    BatchSize::SmallInput,
                );
            });
            group.finish();
        }
    }
}

#[cfg(not(feature = "deflate"))]
fn compression(_: &mut Criterion) {}

criterion_group!(benches, masks, reads, writes, compression);
criterion_main!(benches);
