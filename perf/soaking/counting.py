"""Clients that count together in one file, which no lost update survives."""

from perf.soaking.keeping import Keeper
from perf.soaking.scene import Cut, Wrong

_TARGET = "/dav/count"


class Counter(Keeper):
    """One of several who read a number and write the next one, on the condition that nobody was faster."""

    kind = "counter"

    def begin(self) -> None:
        super().begin()
        self.line.surely("PUT", _TARGET, 201, 412, body=b"0 of nobody", If_None_Match="*")

    def turn(self) -> None:
        answer = self.line.surely("GET", _TARGET, 200)
        if answer.etag != answer.sha256:
            raise Wrong(f"the count has the entity-tag {answer.etag} of other bytes than {answer.body!r}")
        # With a name, since equal bytes would be taken for the same request, sent again.
        body = f"{int(answer.body.split()[0]) + 1} of {self.folder} {self.chance.random()}".encode()
        try:
            status = self.line.ask("PUT", _TARGET, 204, 412, body=body, If_Match=f'"{answer.etag}"').status
        except Cut:
            self.scene.tally.counted(self.user, is_known=False)
        else:
            if status == 204:
                self.scene.tally.counted(self.user, is_known=True)

    def finish(self) -> None:
        super().finish()
        acknowledged, unknown = self.scene.tally.counts(self.user)
        count = int((self.scene.server.data / "files" / self.user / "count").read_bytes().split()[0])
        if not acknowledged <= count <= acknowledged + unknown:
            self.scene.tally.problem(
                f"{self.user} counted to {count}, with {acknowledged} acknowledged, {unknown} unknown"
            )
