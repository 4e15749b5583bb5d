//! Io threads without a server around them.

use super::*;

#[test]
fn a_connection_that_comes_to_a_thread_that_has_ended_is_counted_all_the_same() {
    let shared = Arc::new(Shared::new(&Config::default(), Site::default(), None, None));
    let (commands, _drained) = crossbeam_channel::unbounded();
    let (thread, entrance) = IoThread::new(1, Arc::clone(&shared), vec![commands], 1).unwrap();
    shared.stop.store(true, Ordering::Release);
    entrance.waker.wake().unwrap();
    let arrivals = thread.run().expect("no fault");

    // Another thread accepts until it hears of the stop.
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let peer = shared.site.addresses.arrive(SocketAddr::from(([192, 0, 2, 1], 40_000))).unwrap();
    shared.metrics.connections.inc();
    entrance.streams.try_send(Arrival { stream, peer }).unwrap();
    arrivals.end(&shared);

    let metrics = &shared.metrics;
    assert_eq!((metrics.closes.get(CloseReason::GoingAway), metrics.connections.get()), (1, 0));
    assert!(shared.site.addresses.is_empty());
}
