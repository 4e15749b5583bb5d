//! What a frame costs: `cargo bench --bench frame`.
//!
//! `read` is all that happens between the socket's bytes and an event; `write` is what a composer does per
//! client. `mask` compares the word-wise loop with its definition.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
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

criterion_group!(benches, masks, reads, writes);
criterion_main!(benches);
