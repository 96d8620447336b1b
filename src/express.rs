//! AI exchanges on plain HTTP/1.1 connections, served without Pingora's pipeline.
//!
//! Pingora's proxy moves futures of many kilobytes for every request, most of which is for what an AI
//! exchange never does. A request that is routed to a model, in HTTP/1.1 and with a body of stated length,
//! is served here, by the same code on a smaller stage; whatever else comes goes to `HttpProxy`.

use crate::accept::Client;
use crate::accept::direct::{Direct, Next};
use crate::exchange::Exchange;
use crate::gateway::Gateway;
use crate::heap;
use crate::listen::Limits;
use crate::listen::front::{Ends, Express, Left, closing};
use crate::serving;
use crate::settle;
use crate::turns;
use async_trait::async_trait;
use pingora::protocols::Stream;
use std::pin::pin;

#[async_trait]
impl Express for Gateway {
    async fn serve(&self, stream: Stream, limits: &Limits, ends: Ends<'_>) -> Left {
        let mut direct = Direct::new(stream, limits.heads);
        let mut next = direct.next(pin!(closing(ends.idle.clone(), true))).await;
        let mut stop = pin!(closing(ends.idle.clone(), false));
        loop {
            match next {
                Next::Request => {}
                Next::Closed => break,
                Next::Slow => return Left::Slow(direct.into_parts().0),
                Next::Other => return left(direct),
            }
            let last = *ends.last.borrow();
            if !exchange(self, &mut direct, last).await {
                return left(direct);
            }
            heap::tidy();
            if !direct.finish().await {
                break;
            }
            next = direct.next(stop.as_mut()).await;
        }
        // Closing is small work, but thousands may have to be closed at once.
        turns::pass().await;
        Left::Nothing
    }
}

fn left(direct: Direct) -> Left {
    let (stream, read) = direct.into_parts();
    Left::Request(stream, read)
}

/// Serves a request if it is for a model, whoever its consumer turns out to be.
async fn exchange(gateway: &Gateway, direct: &mut Direct, last: bool) -> bool {
    let mut client = Client::Direct(direct);
    let snapshot = gateway.live.load_full();
    let met = gateway.edge.meet(&client);
    let found = serving::find(&client, met.ends, &snapshot);
    let Some(found) = found.filter(|found| met.bounded.is_ok() && found.matched.entry.is_ai()) else {
        return false;
    };
    if last {
        client.close_after();
    }
    let mut x = Exchange::new(snapshot);
    serving::request(gateway, &mut client, &mut x, met, Some(found)).await;
    settle::exchange(&client, &mut x);
    true
}
