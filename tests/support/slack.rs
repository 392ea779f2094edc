//! Slack, played: Web API and Socket Mode on free ports of this machine, with the people who talk to the bot. The test
//! acts for the people and reads what stands in the channels; the bot under test knows only the address and its tokens.

mod blocks;
mod connection;
mod events;
mod examples;
mod faults;
mod limits;
mod message;
mod methods;
mod people;
mod render;
mod reply;
mod request;
mod server;
mod socket;
mod sockets;
#[cfg(test)]
mod tests;
mod transcript;
mod views;
mod world;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpListener;

pub use faults::Fault;
pub use limits::{Limit, Limits, Violation};
pub use message::{Shown, Version};
pub use people::Said;
pub use render::Button;
pub use sockets::{AckDelay, Routing, Untaken};
pub use world::{Call, ChannelKind, Ephemeral, Prompts, Response, Status};

use server::Server;
use world::{BOT_USER, TEAM, World};

/// The server; dropping it ends it and all its connections.
#[derive(Debug)]
pub struct FakeSlack {
    server: Arc<Server>,
    url: String,
}

impl Drop for FakeSlack {
    fn drop(&mut self) {
        self.server.stop.cancel();
        self.server.network.set(false);
    }
}

/// The server, as the bot meets it.
impl FakeSlack {
    pub async fn start() -> Self {
        let listen = || async { TcpListener::bind("127.0.0.1:0").await.expect("this machine has a free port") };
        let (http, sockets) = (listen().await, listen().await);
        let address = |listener: &TcpListener| listener.local_addr().expect("a listener has an address");
        let url = format!("http://{}", address(&http));
        // Each server has tokens of its own.
        let secret = format!("fake-token-of-a-test-{}", address(&http).port());
        let world = World::new(url.clone(), format!("ws://{}", address(&sockets)), &secret);
        FakeSlack { server: Server::start(http, sockets, world), url }
    }

    /// What goes before `/method`.
    pub fn api_url(&self) -> String {
        format!("{}/api", self.url)
    }

    pub fn app_token(&self) -> String {
        self.server.look().app_token.clone()
    }

    pub fn bot_token(&self) -> String {
        self.server.look().bot_token.clone()
    }

    pub fn bot_user(&self) -> String {
        BOT_USER.to_owned()
    }

    pub fn team(&self) -> String {
        TEAM.to_owned()
    }

    /// `<@U…>`, as it stands in a text that mentions the bot.
    pub fn mention(&self) -> String {
        format!("<@{BOT_USER}>")
    }

    /// The scopes of the bot token; all that the manifest asks for at the start.
    pub fn set_scopes(&self, scopes: &[&str]) {
        self.server.act().scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
    }

    /// Without a network every connection breaks, and new ones do at once.
    pub fn set_network(&self, there: bool) {
        self.server.network.set(there);
    }

    /// Other limits on how often methods are called; `None`: none at all.
    pub fn set_limits(&self, limits: Option<Limits>) {
        self.server.act().limiter.limits = limits;
    }

    /// Whether the bot's own messages come back to it as events, as they do on the platform.
    pub fn set_echo(&self, echo: bool) {
        self.server.act().echo = echo;
    }

    /// A stream ends by itself this long after its start; five minutes at the start.
    pub fn set_stream_age(&self, age_max: Duration) {
        self.server.act().stream_age_max = age_max;
    }

    /// The next call of this method meets a fault; faults of a method wait in a queue.
    pub fn fault(&self, method: &str, fault: Fault) {
        self.server.act().faults.script(method, None, fault);
    }

    /// The next call of this method for this channel meets a fault.
    pub fn fault_in(&self, channel: &str, method: &str, fault: Fault) {
        self.server.act().faults.script(method, Some(channel), fault);
    }

    /// From now on this share of all calls meets one of these faults; no faults: as before.
    pub fn faults_by_chance(&self, seed: u64, share: f64, faults: &[Fault]) {
        self.server.act().faults.by_chance(seed, share, faults);
    }

    /// Scripted faults that no call has met yet.
    pub fn faults_left(&self) -> usize {
        self.server.look().faults.left()
    }
}

/// The sockets.
impl FakeSlack {
    /// Sockets that are open now, dead ones that were not noticed yet among them.
    pub fn sockets(&self) -> usize {
        self.server.look().sockets.open.len()
    }

    /// Sockets opened since the start.
    pub fn sockets_opened(&self) -> u64 {
        self.server.look().sockets.opened
    }

    /// All open sockets die without a word: the connection stays, but nothing is read, sent or answered any more. How
    /// many they were.
    pub fn half_open(&self) -> usize {
        self.kill(usize::MAX)
    }

    /// The oldest living socket dies without a word.
    pub fn half_open_one(&self) -> usize {
        self.kill(1)
    }

    fn kill(&self, count: usize) -> usize {
        let world = self.server.act();
        let living = world.sockets.open.values().filter(|socket| !socket.half_open.is_cancelled());
        living.take(count).map(|socket| socket.half_open.cancel()).count()
    }

    /// Tells all sockets to go: `refresh_requested`, `warning`, `link_disabled`. How many were told.
    pub fn disconnect(&self, reason: &str) -> usize {
        self.server.act().sockets.disconnect(reason, true)
    }

    /// Tells the oldest socket to go.
    pub fn disconnect_one(&self, reason: &str) -> usize {
        self.server.act().sockets.disconnect(reason, false)
    }

    /// The next handshakes are refused.
    pub fn refuse_connections(&self, count: usize) {
        self.server.act().sockets.refused = count;
    }

    /// The next events are sent twice, over two sockets where there are two.
    pub fn duplicate(&self, count: usize) {
        self.server.act().sockets.doubled = count;
    }

    /// The next event is overtaken by the one after it.
    pub fn out_of_order(&self) {
        self.server.act().sockets.overtaken += 1;
    }

    pub fn route(&self, routing: Routing) {
        self.server.act().sockets.route(routing);
    }

    /// Events that are not acknowledged within this time are sent again, this often in all; 3 s and 4 at the start.
    pub fn set_redelivery(&self, after: Duration, deliveries_max: u32) {
        let mut world = self.server.act();
        world.sockets.redelivery_after = after;
        world.sockets.deliveries_max = deliveries_max;
    }

    /// How long a person waits for a command or press to be taken; 3 s at the start.
    pub fn set_interaction_patience(&self, patience: Duration) {
        self.server.act().sockets.interaction_max = patience;
    }

    /// How often sockets opened from now on are pinged; 5 s at the start.
    pub fn set_ping_interval(&self, every: Duration) {
        self.server.act().sockets.ping_every = every;
    }

    pub fn ack_delays(&self) -> Vec<AckDelay> {
        self.server.look().sockets.acks.clone()
    }

    /// What the bot did not take: events after all deliveries, commands and presses after 3 seconds.
    pub fn untaken(&self) -> Vec<Untaken> {
        self.server.look().sockets.untaken.clone()
    }

    /// Events, commands and presses on their way to the bot.
    pub fn pending_events(&self) -> usize {
        self.server.look().sockets.pending()
    }

    /// Sends an event that the fake does not make by itself.
    pub fn send_event(&self, event: Value) {
        self.server.act().send_event(event);
    }
}

/// Who is there.
impl FakeSlack {
    /// A person with direct messages with the bot; `locale` as in `it-IT`.
    pub fn add_user(&self, name: &str, locale: &str) -> String {
        self.server.act().add_user(name, locale, false)
    }

    /// Somebody else's bot.
    pub fn add_bot(&self, name: &str) -> String {
        self.server.act().add_user(name, "en-US", true)
    }

    /// A channel with the bot in it.
    pub fn add_channel(&self, kind: ChannelKind, name: &str, members: &[String]) -> String {
        self.server.act().add_channel(kind, name, members)
    }

    /// The direct messages of a person with the bot.
    pub fn direct(&self, user: &str) -> String {
        let world = self.server.look();
        world.im_of(user).unwrap_or_else(|| panic!("{user} has no direct messages")).id.clone()
    }

    pub fn join(&self, channel: &str, user: &str) {
        self.server.act().join(channel, user);
    }

    pub fn leave(&self, channel: &str, user: &str) {
        self.server.act().leave(channel, user);
    }

    pub fn archive(&self, channel: &str) {
        self.server.act().channel_mut(channel).archived = true;
    }
}

/// What people do. Texts are as Slack sends them: `<@U…>` for mentions, `&lt;` for a typed `<`.
impl FakeSlack {
    /// The message's `ts`.
    pub fn say(&self, channel: &str, user: &str, text: &str, said: Said) -> String {
        self.server.act().say(channel, user, text, said)
    }

    pub fn edit(&self, channel: &str, ts: &str, text: &str) {
        self.server.act().edit(channel, ts, text);
    }

    pub fn delete(&self, channel: &str, ts: &str) {
        self.server.act().delete(channel, ts);
    }

    /// Presses the button with this `value` or `action_id`, which has to be there. The trigger of the press.
    pub fn press(&self, channel: &str, user: &str, ts: &str, button: &str) -> String {
        self.server.act().press(channel, user, ts, button)
    }

    /// `/cervella text`; `command` with its slash. The trigger of the command.
    pub fn slash(&self, channel: &str, user: &str, command: &str, text: &str) -> String {
        self.server.act().slash(channel, user, command, text)
    }

    /// A message shortcut. The trigger of it.
    pub fn shortcut(&self, channel: &str, user: &str, ts: &str, callback_id: &str) -> String {
        self.server.act().shortcut(channel, user, ts, callback_id)
    }

    /// The `ts` of the thread, which is in the person's direct messages.
    pub fn open_assistant(&self, user: &str, looks_at: Option<&str>) -> String {
        self.server.act().open_assistant(user, looks_at)
    }

    pub fn change_context(&self, user: &str, thread_ts: &str, looks_at: &str) {
        self.server.act().change_context(user, thread_ts, looks_at);
    }

    pub fn open_home(&self, user: &str) {
        self.server.act().open_home(user);
    }

    /// Slack's own stop button below what is being streamed in a thread.
    pub fn stop_agent(&self, channel: &str, user: &str, thread_ts: &str) {
        self.server.act().stop_agent(channel, user, thread_ts);
    }
}

/// What Slack would have against these blocks.
pub fn check_blocks(blocks: &Value) -> Result<(), String> {
    blocks::checked(blocks).map(|_| ()).map_err(|refusal| refusal.broken.unwrap_or(refusal.code))
}

/// Blocks at their limits and beyond, each with whether Slack takes it. The official models have to agree.
pub fn block_examples() -> Vec<(Value, bool)> {
    examples::all()
}
