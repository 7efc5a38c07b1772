//! A proxy that can forget its connections, as load balancers and NAT forget idle ones: neither side is notified, and the next packet
//! is answered by a reset.

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// A proxy to one server.
pub(crate) struct ForgetfulProxy {
    pub(crate) port: u16,
    forget: watch::Sender<()>,
}

impl ForgetfulProxy {
    pub(crate) async fn in_front_of(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (forget, forgotten) = watch::channel(());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, server, forgotten.clone()));
            }
        });
        Self { port, forget }
    }

    pub(crate) fn forget(&self) {
        self.forget.send_replace(());
    }
}

async fn carry(mut client: TcpStream, server: u16, mut forgotten: watch::Receiver<()>) {
    forgotten.mark_unchanged();
    let mut server = TcpStream::connect(("127.0.0.1", server)).await.expect("it listens");
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => return,
        _ = forgotten.changed() => {}
    }
    client.readable().await.expect("the client sends something");
    client.set_zero_linger().expect("an open socket"); // closing it resets it
}
