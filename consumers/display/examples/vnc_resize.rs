//! Asks a VNC server for another size, by the viewer library `vnc-rs`, and prints its answer.
//!
//! `vnc_resize ADDR WIDTHxHEIGHT` prints `Success`, `Forwarded` (the guest is told, and sets the mode if it
//! wants), `Prohibited`, `OutOfResources` or `InvalidLayout`. A password is taken from the environment,
//! as `VNC_PASSWORD`.

use tokio::net::TcpStream;
use vnc::DesktopReason;
use vnc::PixelFormat;
use vnc::ResizeError;
use vnc::VncClient;
use vnc::VncConnector;
use vnc::VncEncoding;
use vnc::VncEvent;
use vnc::X11Event;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, size] = &arguments[..] else {
        return Err("usage: vnc_resize ADDR WIDTHxHEIGHT".into());
    };
    let (width, height) = size.split_once('x').ok_or("a size is WIDTHxHEIGHT")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let answer = runtime.block_on(ask(address, width.parse()?, height.parse()?))?;
    println!("{answer}");
    Ok(())
}

async fn ask(address: &str, width: u16, height: u16) -> Outcome<String> {
    let password = std::env::var("VNC_PASSWORD").unwrap_or_default();
    let client = VncConnector::new(TcpStream::connect(address).await?)
        .set_auth_method(async move { Ok(password) })
        .set_pixel_format(PixelFormat::rgba())
        .add_encoding(VncEncoding::Zrle)
        .add_encoding(VncEncoding::ExtendedDesktopSizePseudo)
        .build()?;
    let client = client.try_start().await?.finish()?;
    // By its layout, which comes before the picture, the server says that it can be asked.
    while client.desktop_layout().is_none() {
        if let VncEvent::RawImage(..) = next(&client).await? {
            return Err("the server does not let viewers ask for a size".into());
        }
    }
    let asked = client.resize_desktop(width, height);
    tokio::pin!(asked);
    let mut is_over = false;
    loop {
        tokio::select! {
            event = next(&client) => {
                if let VncEvent::DesktopUpdate(update) = event?
                    && update.reason == DesktopReason::ThisClient
                {
                    return Ok(format!("{:?}", update.status));
                }
            }
            answer = &mut asked, if !is_over => match answer {
                Ok(_) => return Ok("Success".to_owned()),
                Err(ResizeError::Denied(status)) => return Ok(format!("{status:?}")),
                // What it cannot be sure of is among the events.
                Err(_) => is_over = true,
            },
        }
    }
}

/// The next event; a server sends no more than it is asked for.
async fn next(client: &VncClient) -> Outcome<VncEvent> {
    let event = client.recv_event().await?;
    client.input(X11Event::Refresh).await?;
    Ok(event)
}
