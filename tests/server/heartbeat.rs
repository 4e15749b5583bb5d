//! Who is silent is asked whether it is there.

use std::net::TcpStream;
use std::time::Duration;

use tickyard::Config;
use tickyard::close_reason::CloseReason;
use tungstenite::Message;

use crate::common::client::{Client, End};
use crate::common::lab::Lab;
use crate::common::{House, config, until};

#[test]
fn who_only_answers_pings_stays_and_who_does_not_is_ended() {
    let config = Config {
        echo: true,
        tick_rate: 10,
        idle_timeout: Duration::from_secs(2),
        ping_interval: Some(Duration::from_millis(300)),
        ..config()
    };
    let house = House::open(config, |server| server.game("lab", |_| Lab::default()));
    let address = house.address();
    let enter = || {
        let mut player = Client::join(address, "lab", "");
        player.acknowledges = false;
        [player, Client::over(TcpStream::connect(address).unwrap(), address, "/echo")]
    };
    // tungstenite answers pings by itself, when it is asked for the next message; these two are never asked.
    let _deaf = enter();
    let mut listening = enter();
    let mut more = || listening.iter_mut().for_each(|client| _ = client.listen());

    let ended = || house.metrics().closes.get(CloseReason::Idle);
    until("the deaf ones are ended", || (more(), ended() >= 2).1);
    let pings = house.metrics().pings.get();
    assert!(pings >= 4, "{pings}");
    // Another idle timeout, told by the pings that are answered meanwhile.
    until("the others are asked again and again", || {
        more();
        house.metrics().pings.get() >= pings + 16
    });
    let [mut player, mut echo] = listening;
    assert_eq!((player.end, echo.end, ended()), (None, None, 2));
    player.until_answered(1);
    echo.send_message(Message::Close(None));
    assert_eq!(echo.until_the_end(), End::CloseOnly);
}
