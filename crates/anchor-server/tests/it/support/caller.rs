//! A client that speaks WebRTC, by way of a network that loses, delays and reorders.

use std::collections::{BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use opus_pure::{Application, OpusDecoder, OpusEncoder};
use serde_json::Value;
use str0m::change::SdpAnswer;
use str0m::channel::ChannelId;
use str0m::media::{Direction, Frequency, MediaKind, MediaTime, Mid};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc};
use tokio::net::UdpSocket;
use tokio::time::sleep_until;

use super::{PATIENCE, Server};

const FRAME: Duration = Duration::from_millis(20);

/// What happens to datagrams, both ways.
#[derive(Clone, Copy, Default)]
pub struct Network {
    pub loss_per_cent: u32,
    /// Each datagram takes between these; a later one may overtake.
    pub delay_ms: (u64, u64),
}

impl Network {
    /// Starts a proxy to `server` and returns its address.
    pub async fn start(self, server: SocketAddr) -> SocketAddr {
        let inner = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let outer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = outer.local_addr().unwrap();
        tokio::spawn(async move {
            let mut dice = 0x2545_f491_4f6c_dd1d_u64;
            let mut roll = move |sides: u64| {
                dice ^= dice << 13;
                dice ^= dice >> 7;
                dice ^= dice << 17;
                dice % sides.max(1)
            };
            let mut client = None;
            let mut under_way: BinaryHeap<std::cmp::Reverse<(Instant, bool, Vec<u8>)>> = BinaryHeap::new();
            let (mut one, mut two) = (vec![0; 2048], vec![0; 2048]);
            loop {
                let next = under_way.peek().map_or_else(|| Instant::now() + PATIENCE, |first| first.0.0);
                let (in_bound, bytes) = tokio::select! {
                    Ok((length, from)) = outer.recv_from(&mut one) => {
                        client = Some(from);
                        (true, one[..length].to_vec())
                    }
                    Ok((length, _)) = inner.recv_from(&mut two) => (false, two[..length].to_vec()),
                    () = sleep_until(next.into()) => {
                        if let Some(std::cmp::Reverse((_, in_bound, bytes))) = under_way.pop() {
                            let to = if in_bound { server } else { client.unwrap() };
                            let socket = if in_bound { &inner } else { &outer };
                            socket.send_to(&bytes, to).await.ok();
                        }
                        continue;
                    }
                };
                if roll(100) < u64::from(self.loss_per_cent) {
                    continue;
                }
                let (least, most) = self.delay_ms;
                let delay = Duration::from_millis(least + roll(most - least + 1));
                under_way.push(std::cmp::Reverse((Instant::now() + delay, in_bound, bytes)));
            }
        });
        address
    }
}

/// One call, from the client's side.
pub struct Caller {
    rtc: Rtc,
    socket: UdpSocket,
    own: SocketAddr,
    mid: Mid,
    channel: ChannelId,
    open: bool,
    pub location: String,
    encoder: OpusEncoder,
    decoder: OpusDecoder,
    to_say: VecDeque<f32>,
    due: Instant,
    time: u64,
    events: VecDeque<Value>,
    /// Peak of each 20 ms heard.
    pub heard: Vec<f32>,
    pub connected_after: Option<Duration>,
    pub closed: bool,
    began: Instant,
}

impl Caller {
    pub async fn connect(server: &Server, network: Network, query: &str) -> Self {
        let mut caller = Self::offer(server, network, query).await;
        caller.run(|caller| caller.open).await;
        caller
    }

    /// Makes the offer and takes the answer, and does not go on.
    pub async fn offer(server: &Server, network: Network, query: &str) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let own = socket.local_addr().unwrap();
        let began = Instant::now();
        let mut rtc = Rtc::builder().clear_codecs().enable_opus(true, false).build(began);
        rtc.add_local_candidate(Candidate::host(own, "udp").unwrap());
        let mut api = rtc.sdp_api();
        let mid = api.add_media(MediaKind::Audio, Direction::SendRecv, None, None, None);
        let channel = api.add_channel("oai-events".into());
        let (offer, pending) = api.apply().unwrap();
        let (head, sdp) = server
            .offer(&format!("/v1/realtime/calls{query}"), "application/sdp", offer.to_sdp_string().as_bytes())
            .await;
        assert!(head.starts_with("HTTP/1.1 201"), "{head}\n{sdp}");
        let location = head.lines().find_map(|line| line.strip_prefix("location: ")).unwrap().trim().to_owned();
        // The proxy stands where the server says it is.
        let line = sdp.lines().find(|line| line.starts_with("a=candidate:")).unwrap();
        let port: u16 = line.split(' ').nth(5).unwrap().parse().unwrap();
        let proxy = network.start(SocketAddr::from(([127, 0, 0, 1], port))).await;
        let sdp = sdp.replace(&format!(" {port} typ"), &format!(" {} typ", proxy.port()));
        rtc.sdp_api().accept_answer(pending, SdpAnswer::from_sdp_string(&sdp).unwrap()).unwrap();
        let mut encoder = OpusEncoder::new(16_000, 1, Application::Voip).unwrap();
        encoder.bitrate_bps = 32_000;
        Self {
            rtc,
            socket,
            own,
            mid,
            channel,
            open: false,
            location,
            encoder,
            decoder: OpusDecoder::new(16_000, 1).unwrap(),
            to_say: VecDeque::new(),
            due: began,
            time: 0,
            events: VecDeque::new(),
            heard: Vec::new(),
            connected_after: None,
            closed: false,
            began,
        }
    }

    pub fn send(&mut self, event: Value) {
        let text = event.to_string();
        assert!(self.rtc.channel(self.channel).unwrap().write(false, text.as_bytes()).unwrap());
    }

    /// Says a tone for this long, then goes on with silence.
    pub fn speak(&mut self, milliseconds: usize) {
        self.to_say.extend((0..16 * milliseconds).map(|n| 0.4 * (n as f32 * 0.2).sin()));
    }

    /// Everything up to the first event of this type.
    pub async fn until(&mut self, kind: &str) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            self.run(|caller| !caller.events.is_empty()).await;
            events.extend(self.events.pop_front());
            if events.last().is_some_and(|event: &Value| event["type"] == kind) {
                return events;
            }
        }
    }

    pub async fn find(&mut self, kind: &str) -> Value {
        self.until(kind).await.pop().unwrap()
    }

    pub async fn wait(&mut self, time: Duration) {
        let until = Instant::now() + time;
        self.run(|_| Instant::now() >= until).await;
    }

    /// Goes on until something holds.
    pub async fn run(&mut self, mut holds: impl FnMut(&Self) -> bool) {
        // DTLS and SCTP double their waits with every packet lost, so a fifth lost can take a minute.
        let deadline = Instant::now() + 4 * PATIENCE;
        let mut buffer = vec![0; 2048];
        while !holds(self) {
            assert!(Instant::now() < deadline, "it did not come in time; {:?}", self.events);
            let until = match self.rtc.poll_output().unwrap() {
                Output::Transmit(datagram) => {
                    self.socket.send_to(&datagram.contents, datagram.destination).await.ok();
                    continue;
                }
                Output::Event(event) => {
                    self.happened(event);
                    continue;
                }
                Output::Timeout(until) => until,
            };
            let now = Instant::now();
            if self.open && self.due <= now {
                self.say(now);
                continue;
            }
            let next = if self.open { until.min(self.due) } else { until.min(now + FRAME) };
            tokio::select! {
                Ok((length, from)) = self.socket.recv_from(&mut buffer) => {
                    if let Ok(datagram) = Receive::new(Protocol::Udp, from, self.own, &buffer[..length]) {
                        self.rtc.handle_input(Input::Receive(Instant::now(), datagram)).unwrap();
                    }
                }
                () = sleep_until(next.into()) => self.rtc.handle_input(Input::Timeout(Instant::now())).unwrap(),
            }
        }
    }

    fn happened(&mut self, event: Event) {
        match event {
            Event::Connected => self.connected_after = Some(self.began.elapsed()),
            Event::ChannelOpen(..) => {
                self.open = true;
                self.due = Instant::now();
            }
            Event::ChannelData(data) => self.events.push_back(serde_json::from_slice(&data.data).unwrap()),
            Event::MediaData(data) => {
                let mut sound = [0.0; 960];
                let length = self.decoder.decode(&data.data, 320, &mut sound).unwrap();
                self.heard.push(sound[..length].iter().fold(0.0, |peak, sample| peak.max(sample.abs())));
            }
            Event::ChannelClose(_) | Event::Closed => self.closed = true,
            _ => {}
        }
    }

    fn say(&mut self, now: Instant) {
        let mut sound: Vec<f32> = self.to_say.drain(..self.to_say.len().min(320)).collect();
        sound.resize(320, 0.0);
        let mut packet = vec![0; 1275];
        let length = self.encoder.encode(&sound, 320, &mut packet).unwrap();
        packet.truncate(length);
        let writer = self.rtc.writer(self.mid).unwrap();
        let opus = writer.payload_params().next().unwrap().pt();
        writer.write(opus, now, MediaTime::new(self.time, Frequency::FORTY_EIGHT_KHZ), packet).unwrap();
        self.time += 960;
        self.due += FRAME;
    }
}

impl Server {
    /// Head and body of the answer to a POST.
    pub async fn offer(&self, path: &str, kind: &str, body: &[u8]) -> (String, String) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // The server may answer and close before it has all.
        stream.write_all(body).await.ok();
        let mut answer = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("no answer in time").ok();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        (head.to_owned(), body.to_owned())
    }
}
