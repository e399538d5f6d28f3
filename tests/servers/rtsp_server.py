"""A camera for tests: GStreamer's RTSP server, run by the system's Python in a process of its own.

Sends access units that were encoded beforehand, paced in real time, so that it costs next to
nothing. Paths: /cam and /street (endless), /clip (ends), /wrap (its RTP time stamps begin anew
after two seconds), /sound (no video). A second port has /cam behind a password. Prints one line,
`ready PORT CLOSED_PORT`, once both listen.
"""

import argparse
import sys
import threading
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

AUD = b"\x00\x00\x00\x01\x09"  # an access unit delimiter opens every picture


class Camera(GstRtspServer.RTSPMediaFactory):
    """Plays the pictures of a raw H.264 file over and over."""

    def __init__(self, units, fps, loops, first_stamp=-1):
        super().__init__()
        self.units, self.fps, self.loops = units, fps, loops
        self.set_shared(True)
        self.set_launch(
            "( appsrc name=source is-live=true format=time do-timestamp=true "
            f"caps=video/x-h264,stream-format=byte-stream,alignment=au,framerate={fps}/1 "
            "! h264parse ! rtph264pay name=pay0 pt=96 config-interval=1 "
            f"timestamp-offset={first_stamp} )"
        )

    def do_configure(self, media):
        source = media.get_element().get_by_name("source")
        gone = threading.Event()
        media.connect("unprepared", lambda _: gone.set())
        threading.Thread(target=self.play, args=(source, gone), daemon=True).start()

    def play(self, source, gone):
        began = time.monotonic()
        for number in range(len(self.units) * self.loops):
            wait = began + number / self.fps - time.monotonic()
            if wait < -1:  # frozen meanwhile: a camera does not make up for lost time
                began -= wait
            elif wait > 0:
                time.sleep(wait)
            unit = Gst.Buffer.new_wrapped(self.units[number % len(self.units)])
            if gone.is_set() or source.emit("push-buffer", unit) != Gst.FlowReturn.OK:
                return
        source.emit("end-of-stream")


def listen(address, port, factories):
    server = GstRtspServer.RTSPServer()
    server.set_address(address)
    server.set_service(port)
    for path, factory in factories.items():
        server.get_mount_points().add_factory(path, factory)
    return server


def ask_for_password(server, user, password):
    """Nobody sees anything of this server without the password."""
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)


def allow_viewers(factory):
    permission = "viewer, media.factory.access=true, media.factory.construct=true"
    factory.add_role_from_structure(Gst.Structure.new_from_string(permission))
    return factory


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--file", required=True, help="raw H.264 with access unit delimiters")
    parser.add_argument("--fps", type=int, default=25)
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", default="0")
    parser.add_argument("--closed-port", default="0")
    parser.add_argument("--user", default="user")
    parser.add_argument("--password", default="pass")
    options = parser.parse_args()
    Gst.init(None)
    with open(options.file, "rb") as file:
        units = [AUD + unit for unit in file.read().split(AUD)[1:]]
    sound = GstRtspServer.RTSPMediaFactory()
    sound.set_launch("( audiotestsrc is-live=true ! mulawenc ! rtppcmupay name=pay0 pt=0 )")
    endless = {"loops": 10**6}
    open_server = listen(
        options.address,
        options.port,
        {
            "/cam": Camera(units, options.fps, **endless),
            "/street": Camera(units, options.fps, **endless),
            "/clip": Camera(units, options.fps, loops=1),
            "/wrap": Camera(units, options.fps, **endless, first_stamp=2**32 - 2 * 90_000),
            "/sound": sound,
        },
    )
    guarded = allow_viewers(Camera(units, options.fps, **endless))
    closed_server = listen(options.address, options.closed_port, {"/cam": guarded})
    ask_for_password(closed_server, options.user, options.password)
    for server in (open_server, closed_server):
        if server.attach(None) == 0:
            sys.exit("cannot listen")
    print("ready", open_server.get_bound_port(), closed_server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


main()
