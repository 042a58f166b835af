//! One call: a session over WebRTC.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anchor_core::audio::Samples;
use anchor_core::{Event as Told, ResponseId};
use str0m::change::SdpOffer;
use str0m::channel::ChannelId;
use str0m::format::{Codec, CodecConfig};
use str0m::media::{Frequency, MediaKind, MediaTime, Mid};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc, RtcError};
use tokio::sync::watch;
use tokio::time::sleep_until;
use tracing::{debug, warn};

use super::super::translate::Translator;
use super::super::wire::Error;
use super::line::Line;
use super::microphone::Microphone;
use super::speaker::{Playout, Speaker};
use super::switchboard::{Datagram, Switchboard};
use crate::studio::{Newsfeed, StudioEvent};
use crate::transport::{ClientMessage, Disconnected, ServerMessage, Transport};
use crate::{Limits, metrics};

/// A client that got its answer connects within this time or not at all.
const CONNECT_PATIENCE: Duration = Duration::from_secs(15);

/// Packets that may wait for an earlier one.
const REORDERED_MAX: usize = 10;

/// How long they do: a packet that is asked for again comes within a round trip or is of no use any more.
const REORDER_PATIENCE: Duration = Duration::from_millis(120);

/// Longest event sent: what str0m keeps for a data channel at once is 128 KiB.
const EVENT_MAX: usize = 120 * 1024;

/// How often the session is told how much was heard.
const REPORT_INTERVAL: Samples = Samples::from_ms(100);

/// Rounds of protocol output at the end of a call; it takes a few.
const FAREWELL_MAX: usize = 200;

/// A client's offer that was understood, and our answer to it.
pub(crate) struct Offer {
    rtc: Rtc,
    answer: String,
    name: String,
}

/// Why a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The client hung up, or asked for it over HTTP.
    HungUp,
    /// The client never connected.
    NeverConnected,
    /// Nothing came from the client any more.
    Lost,
    /// The client does not read what it is sent.
    TooSlow,
    /// The protocol broke.
    Broken,
    /// The server shuts down.
    Shutdown,
}

impl End {
    /// In a word, for the log and the metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::HungUp => "hung_up",
            Self::NeverConnected => "call_never_connected",
            Self::Lost => "client_silent",
            Self::TooSlow => "client_too_slow",
            Self::Broken => "connection_broken",
            Self::Shutdown => "shutdown",
        }
    }
}

impl Offer {
    /// Understands a client's SDP.
    pub(crate) fn accept(switchboard: &Switchboard, sdp: &str) -> Result<Self, RtcError> {
        let offer = SdpOffer::from_sdp_string(sdp)?;
        let now = Instant::now();
        let mut config = Rtc::builder()
            .set_crypto_provider(switchboard.crypto.clone())
            .set_dtls_cert(switchboard.certificate.clone())
            .set_ice_lite(true)
            .set_reordering_size_audio(REORDERED_MAX)
            .set_reordering_timeout_audio(Some(REORDER_PATIENCE))
            .clear_codecs()
            .enable_opus(true, false);
        // Lost packets may be asked for again, where the client knows how.
        let mut opus = config.codec_config().params().to_vec();
        opus.iter_mut().for_each(|params| params.set_fb_nack(true));
        *config.codec_config() = CodecConfig::new_from_payload_params(opus);
        let mut rtc = config.build(now);
        for address in &switchboard.addresses {
            if let Ok(candidate) = Candidate::host(*address, "udp") {
                rtc.add_local_candidate(candidate);
            }
        }
        let answer = rtc.sdp_api().accept_offer(offer)?.to_sdp_string();
        let name = rtc.direct_api().local_ice_credentials().ufrag;
        Ok(Self { rtc, answer, name })
    }

    /// Our SDP.
    pub(crate) fn answer(&self) -> &str {
        &self.answer
    }
}

/// A call under way.
pub(crate) struct Call {
    rtc: Rtc,
    line: Line,
    translator: Translator,
    microphone: Microphone,
    speaker: Speaker,
    /// The track on which the anchor's voice goes out.
    track: Option<Mid>,
    /// The client's data channel, once it has opened one.
    channel: Option<ChannelId>,
    /// Events that wait for the channel.
    events: VecDeque<String>,
    /// What the client has asked for before it connected.
    first: Option<ClientMessage>,
    /// What of a response was heard, to be told to the session.
    heard: Option<(ResponseId, Samples)>,
    reported: Samples,
    news: Option<Newsfeed>,
    connected: bool,
    opened: Instant,
    last_datagram: Instant,
    limits: Limits,
    /// Becomes true when the client hangs up over HTTP.
    hangup: watch::Receiver<bool>,
    /// Becomes true when the server shuts down.
    closing: watch::Receiver<bool>,
    end: Option<End>,
}

/// What a call does next.
enum Next {
    Message(ClientMessage),
    Wait(Instant),
    Again,
}

/// What [`Call::recv`] waits for.
enum Happened {
    Datagram(Option<Datagram>),
    News(StudioEvent),
    Time,
    HungUp,
    Shutdown,
}

impl Call {
    /// Puts the call on the board. `greeting` is sent as soon as the client's data channel is open.
    pub(in super::super) async fn open(
        switchboard: &Switchboard,
        offer: Offer,
        translator: Translator,
        greeting: Vec<String>,
        news: Option<Newsfeed>,
        limits: &Limits,
        (hangup, closing): (watch::Receiver<bool>, watch::Receiver<bool>),
    ) -> Result<Self, opus_pure::Error> {
        let now = Instant::now();
        Ok(Self {
            line: Line::open(switchboard, &offer.name).await,
            rtc: offer.rtc,
            translator,
            microphone: Microphone::new()?,
            speaker: Speaker::new(now)?,
            track: None,
            channel: None,
            events: greeting.into(),
            first: None,
            heard: None,
            reported: Samples(0),
            news,
            connected: false,
            opened: now,
            last_datagram: now,
            limits: limits.clone(),
            hangup,
            closing,
            end: None,
        })
    }

    /// Has the session hear this first.
    pub(crate) fn begin_with(&mut self, message: ClientMessage) {
        self.first = Some(message);
    }

    /// Ends the call in the client's eyes, and says why it ended.
    pub(crate) fn close(&mut self) -> End {
        let end = self.end.unwrap_or(End::HungUp);
        let message = match end {
            End::Shutdown => Some("The server is shutting down."),
            End::TooSlow => Some("The events of this session were not read in time."),
            End::HungUp | End::NeverConnected | End::Lost | End::Broken => None,
        };
        if !matches!(end, End::HungUp | End::Shutdown) {
            metrics::error(end.name());
        }
        if let (Some(message), Some(channel)) = (message, self.channel) {
            let text = self.translator.refuse(Error::invalid("session_ended", None, message));
            if let Some(mut channel) = self.rtc.channel(channel) {
                // There may be no room; then the closed channel has to say it.
                let _ = channel.write(false, text.as_bytes());
            }
        }
        // The event leaves before the protocol closes, which would drop it.
        self.flush();
        if self.rtc.close().is_ok() {
            self.flush();
        }
        end
    }

    fn flush(&mut self) {
        for _ in 0..FAREWELL_MAX {
            match self.rtc.poll_output() {
                Ok(Output::Transmit(datagram)) => self.line.send(&datagram),
                Ok(Output::Event(_)) => {}
                Ok(Output::Timeout(until)) => {
                    let now = Instant::now();
                    if until > now || !self.rtc.is_alive() || self.rtc.handle_input(Input::Timeout(now)).is_err() {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    }

    /// Works until there is something for the session or nothing to do.
    fn work(&mut self) -> Result<Next, End> {
        if let Some(message) = self.first.take() {
            return Ok(Next::Message(message));
        }
        if let Some(message) = self.translator.next_audio() {
            return Ok(Next::Message(message));
        }
        if let Some(frame) = self.microphone.next() {
            return Ok(Next::Message(ClientMessage::Audio(frame)));
        }
        if let Some((response, sent)) = self.heard.take() {
            return Ok(Next::Message(ClientMessage::Playout(response, sent)));
        }
        let until = match self.rtc.poll_output().map_err(broken)? {
            Output::Transmit(datagram) => {
                self.line.send(&datagram);
                return Ok(Next::Again);
            }
            Output::Event(event) => return Ok(self.happened(event)?.map_or(Next::Again, Next::Message)),
            Output::Timeout(until) => until,
        };
        let now = Instant::now();
        if self.connected && self.speaker.due() <= now {
            self.tick(now)?;
            return Ok(Next::Again);
        }
        if until <= now {
            self.rtc.handle_input(Input::Timeout(now)).map_err(broken)?;
            return Ok(Next::Again);
        }
        let (patience, from, end) = if self.connected {
            (self.limits.silence, self.last_datagram, End::Lost)
        } else {
            (self.limits.silence.min(CONNECT_PATIENCE), self.opened, End::NeverConnected)
        };
        let deadline = from + patience;
        if deadline <= now {
            return Err(end);
        }
        let tick = if self.connected { self.speaker.due() } else { until };
        Ok(Next::Wait(until.min(tick).min(deadline)))
    }

    fn happened(&mut self, event: Event) -> Result<Option<ClientMessage>, End> {
        match event {
            Event::Connected => {
                debug!(took = ?self.opened.elapsed(), "connected");
                self.connected = true;
            }
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) => return Err(End::Lost),
            Event::Closed => return Err(End::HungUp),
            Event::MediaAdded(media) if media.kind == MediaKind::Audio && self.track.is_none() => {
                self.track = Some(media.mid);
            }
            Event::MediaData(data) if data.params.spec().codec == Codec::Opus => {
                let time = data.time.rebase(Frequency::FORTY_EIGHT_KHZ).numer();
                self.microphone.packet(data.network_time, time, &data.data);
            }
            Event::ChannelOpen(id, _) if self.channel.is_none() => {
                self.channel = Some(id);
                if let Some(mut channel) = self.rtc.channel(id) {
                    channel.set_buffered_amount_low_threshold(EVENT_MAX / 4);
                }
                self.send_events()?;
            }
            Event::ChannelClose(id) if self.channel == Some(id) => self.channel = None,
            Event::ChannelBufferedAmountLow(_) => self.send_events()?,
            Event::ChannelData(data) if self.channel == Some(data.id) => return self.asked(&data.data),
            _ => {}
        }
        Ok(None)
    }

    /// A message of the client. What is no text is refused like what is no JSON.
    fn asked(&mut self, data: &[u8]) -> Result<Option<ClientMessage>, End> {
        match self.translator.inbound(&String::from_utf8_lossy(data)) {
            Ok(message) => Ok(message),
            Err(error) => {
                let text = self.translator.refuse(error);
                self.tell(text)?;
                Ok(None)
            }
        }
    }

    /// Sends the packet that is due. Whatever else goes by the same clock is done here too.
    fn tick(&mut self, now: Instant) -> Result<(), End> {
        self.microphone.tick(now);
        let (packet, events) = self.speaker.next(now);
        if let Some(writer) = self.track.and_then(|track| self.rtc.writer(track)) {
            let opus =
                writer.payload_params().find(|params| params.spec().codec == Codec::Opus).map(|params| params.pt());
            if let Some(opus) = opus {
                let time = MediaTime::new(packet.time, Frequency::FORTY_EIGHT_KHZ);
                writer.write(opus, now, time, packet.data).map_err(broken)?;
            }
        }
        for event in events {
            match event {
                Playout::Started(response) => {
                    self.reported = Samples(0);
                    let text = self.translator.playout_started(response);
                    self.tell(text)?;
                }
                Playout::Sent(response, sent) if sent - self.reported >= REPORT_INTERVAL => {
                    self.reported = sent;
                    self.heard = Some((response, sent));
                }
                Playout::Sent(..) => {}
                Playout::Stopped(response) => {
                    let text = self.translator.playout_stopped(response);
                    self.tell(text)?;
                }
            }
        }
        Ok(())
    }

    /// Puts an event into the queue. While no channel is open, what finds no room is not kept: the client may want no events.
    fn tell(&mut self, text: String) -> Result<(), End> {
        if self.events.len() < self.limits.outbound_messages.max(1) {
            self.events.push_back(text);
            return self.send_events();
        }
        if self.channel.is_some() { Err(End::TooSlow) } else { Ok(()) }
    }

    fn send_events(&mut self) -> Result<(), End> {
        let Some(id) = self.channel else { return Ok(()) };
        let Some(mut channel) = self.rtc.channel(id) else { return Ok(()) };
        while let Some(text) = self.events.front() {
            if text.len() > EVENT_MAX {
                warn!(bytes = text.len(), "an event is too long for a data channel and was left out");
            } else if !channel.write(false, text.as_bytes()).map_err(broken)? {
                return Ok(());
            }
            self.events.pop_front();
        }
        Ok(())
    }

    fn deliver(&mut self, message: ServerMessage) -> Result<(), End> {
        let texts = match message {
            ServerMessage::Play(response, ref frame) => {
                self.speaker.push(response, frame);
                self.translator.outbound(message)
            }
            ServerMessage::ClearPlayout => {
                let mut texts = self.translator.playout_cleared(&self.speaker.clear());
                self.heard = None;
                texts.extend(self.translator.outbound(message));
                texts
            }
            ServerMessage::Event(Told::ResponseDone { response, .. }) => {
                self.speaker.complete(response);
                self.translator.outbound(message)
            }
            ServerMessage::Event(_) => self.translator.outbound(message),
        };
        texts.into_iter().try_for_each(|text| self.tell(text))
    }

    fn receive(&mut self, Datagram { from, bytes }: &Datagram) -> Result<(), End> {
        let Some(to) = self.line.own_address(*from) else { return Ok(()) };
        let Ok(datagram) = Receive::new(Protocol::Udp, *from, to, bytes) else { return Ok(()) };
        let now = Instant::now();
        let input = Input::Receive(now, datagram);
        if self.rtc.accepts(&input) {
            self.last_datagram = now;
            self.rtc.handle_input(input).map_err(broken)?;
        }
        Ok(())
    }
}

impl Transport for Call {
    async fn recv(&mut self) -> Option<ClientMessage> {
        self.translator.forget_cause();
        loop {
            let until = match self.work() {
                Ok(Next::Message(message)) => return Some(message),
                Ok(Next::Again) => continue,
                Ok(Next::Wait(until)) => until,
                Err(end) => {
                    self.end = Some(end);
                    return None;
                }
            };
            let happened = tokio::select! {
                biased;
                // An error means that the server is gone altogether.
                _ = self.closing.wait_for(|closing| *closing) => Happened::Shutdown,
                _ = self.hangup.wait_for(|hangup| *hangup) => Happened::HungUp,
                datagram = self.line.recv() => Happened::Datagram(datagram),
                event = next_news(&mut self.news) => Happened::News(event),
                () = sleep_until(until.into()) => Happened::Time,
            };
            let done = match happened {
                Happened::Datagram(Some(datagram)) => self.receive(&datagram),
                Happened::News(event) => {
                    let text = self.translator.write(&event);
                    self.tell(text)
                }
                Happened::Time => Ok(()),
                Happened::HungUp => Err(End::HungUp),
                Happened::Datagram(None) | Happened::Shutdown => Err(End::Shutdown),
            };
            if let Err(end) = done {
                self.end = Some(end);
                return None;
            }
        }
    }

    async fn send(&mut self, message: ServerMessage) -> Result<(), Disconnected> {
        self.deliver(message).map_err(|end| {
            self.end = Some(end);
            if end == End::TooSlow { Disconnected::TooSlow } else { Disconnected::Gone }
        })
    }
}

fn broken(error: RtcError) -> End {
    debug!(%error, "the call broke");
    End::Broken
}

async fn next_news(news: &mut Option<Newsfeed>) -> StudioEvent {
    match news {
        Some(news) => news.next().await,
        None => std::future::pending().await,
    }
}
