//! What users of tokio-tungstenite write: a task per connection, a channel to each, one thread for all.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, future, pin_mut, stream};
use tickyard::game::Random;
use tickyard_compare::{Input, ROOM_PLAYERS, Room, TICK_RATE};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{MissedTickBehavior, interval};
use tokio_tungstenite::accept_async_with_config;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// A room, and the way to each of its players.
#[derive(Default)]
struct Table {
    room: Room,
    players: Vec<UnboundedSender<Message>>,
}

type Tables = Rc<RefCell<Vec<Table>>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening {}", listener.local_addr()?);
    LocalSet::new().run_until(serve(listener)).await
}

async fn serve(listener: TcpListener) -> std::io::Result<()> {
    let (tables, mut random) = (Tables::default(), Random::new(1));
    spawn_local(tick(Rc::clone(&tables)));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        spawn_local(play(stream, Rc::clone(&tables), Random::new(random.bits())));
    }
}

async fn play(stream: TcpStream, tables: Tables, mut random: Random) {
    // By default each connection has 128 KiB, which are filled with zeros before each read: that would double the time.
    let config = WebSocketConfig::default().read_buffer_size(4096);
    let Ok(socket) = accept_async_with_config(stream, Some(config)).await else { return };
    let (outgoing, incoming) = socket.split();
    let (sender, mut receiver) = unbounded_channel();
    let (at, seat) = {
        let tables = &mut *tables.borrow_mut();
        if tables.last().is_none_or(|table| table.players.len() == ROOM_PLAYERS) {
            tables.push(Table::default());
        }
        let at = tables.len() - 1;
        tables[at].players.push(sender);
        (at, tables[at].room.join(&mut random))
    };
    let hear = incoming.try_for_each(|message| {
        if let Message::Binary(bytes) = &message
            && let Some(input) = Input::decode(bytes)
        {
            tables.borrow_mut()[at].room.input(seat, input);
        }
        future::ok(())
    });
    let say = stream::poll_fn(|context| receiver.poll_recv(context)).map(Ok).forward(outgoing);
    pin_mut!(hear, say);
    future::select(hear, say).await;
}

async fn tick(tables: Tables) {
    let mut due = interval(Duration::from_secs(1) / TICK_RATE);
    due.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        due.tick().await;
        for Table { room, players } in tables.borrow_mut().iter_mut() {
            room.step();
            for (seat, player) in players.iter().enumerate() {
                // It fails when the player is gone.
                let _ = player.send(Message::binary(room.message(seat)));
            }
        }
    }
}
