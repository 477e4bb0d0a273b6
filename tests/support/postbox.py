"""An SMTP server that keeps what it gets, for scripts that drive a login server."""

import email
import email.policy
import re
import sys
import threading

from aiosmtpd.controller import Controller


class _Controller(Controller):
    """On a port that the system chooses."""

    def _trigger_server(self):
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


class Postbox:
    """Prints its port, and reads the origin of the login server that sends to it."""

    def __init__(self, refused=()):
        self.mails = {}
        self.refused = refused
        self.arrived = threading.Condition()
        self.controller = _Controller(self, hostname="127.0.0.1", port=0)
        self.controller.start()
        print(self.controller.port, flush=True)
        self.origin = sys.stdin.readline().strip()

    async def handle_DATA(self, server, session, envelope):
        if any(to in self.refused for to in envelope.rcpt_tos):
            return "550 no such user"
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        with self.arrived:
            self.keep(envelope, message)
            self.arrived.notify_all()
        return "250 kept"

    def keep(self, envelope, message):
        for to in envelope.rcpt_tos:
            self.mails.setdefault(to, []).append((envelope, message))

    def to(self, address):
        """The mails to this address, in the order of their arrival."""
        return [message for _, message in self.mails.get(address, [])]

    def mail(self, to, word, count=1):
        """Returns the text of the last mail with this word in its subject, once there are so many."""
        def found():
            return [message for message in self.to(to) if word in message["Subject"]]

        with self.arrived:
            assert self.arrived.wait_for(lambda: len(found()) >= count, 60), (to, word, self.mails.keys())
            return found()[-1].get_content()

    def stop(self):
        self.controller.stop()


def link(text):
    """Returns the secret in the one link of a mail."""
    found = re.findall(r"#(?:token|code)=(\S+)", text)
    assert len(found) == 1, text
    return found[0]
