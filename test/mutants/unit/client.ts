/** Defects of the client and of its profile. */
import { type Defect, forTests } from '../defect.ts'

export const CLIENT: readonly Defect[] = [
  ...forTests(
    'src/client/delivery/entry.ts',
    ['test/client/delivery/outbox.test.ts'],
    [
      [
        'held }: Entry): boolean =>\n  held.size === 1 && text',
        'held, copies }: Entry): boolean =>\n  held.size === 1 && copies === 1 && text',
        'A text that was sent again has one copy only.',
      ],
    ],
  ),
  ...forTests(
    'src/client/delivery/outbox.ts',
    ['test/client/delivery/outbox.test.ts'],
    [
      ['if (entry.held.size > 0) continue', '', 'A message that two relays hold is sent again when one of them forgot it.'],
      [
        'if (route === relay || relayOf(route) === relay || until <= now) entry.held.delete(route)',
        'entry.held.delete(route)',
        'Every message is sent again when a relay forgot its own.',
      ],
      [
        '        entry.isSecond = false\n        entry.again',
        '        entry.again',
        'A message whose first copy was forgotten is not sent again if its second copy fails.',
      ],
      ['relay || until <= now)', 'relay)', 'An expired copy counts as one that a relay holds.'],
      ['if (deadline > now) continue', 'if (deadline >= now) continue', 'A message expires a moment late.'],
      ['count >= OUTBOX.window ||', 'count > OUTBOX.window ||', 'One message too many is under way.'],
      ['if (entry.wanted && entry.confirm) stopped.add(entry.to)', '', 'A later message overtakes one that waits.'],
      ['      entry.wanted = false\n      entry.isSecond', '      entry.isSecond', 'A message that is under way is sent again at once.'],
      ["if (entry.state === 'held') return undefined", '', 'A second copy is reported as the first one.'],
      ['if (!entry.confirm) this.remove(id)', '', 'A message without confirmation stays in the outbox.'],
      ['if (entry?.to === from) {', 'if (entry !== undefined) {', 'A receipt of another contact counts.'],
      ['this.#confirmed.get(id) !== from) continue', 'false) continue', 'Any contact says that a message was read.'],
      ["if (state === 'read') this.#confirmed.delete(id)", '', 'A message is read twice.'],
      ['Math.max(seconds * 900, 60_000)', 'seconds * 900', 'A relay that holds messages for no time gets them again without a pause.'],
      ['seconds * 900', 'seconds * 1_000', 'A message is sent again only when the relay has erased it.'],
      ['const lasting = LASTING.includes(code)', 'const lasting = false', 'A refusal of the user’s key is tried again soon.'],
    ],
  ),
  ...forTests(
    'src/client/delivery/entries.ts',
    ['test/client/delivery/outbox.test.ts'],
    [
      ['this.all.size >= OUTBOX.entries', 'this.all.size > OUTBOX.entries', 'The outbox takes one message too many.'],
      ['+ countBytes(entry) > OUTBOX.bytes', '+ countBytes(entry) >= OUTBOX.bytes', 'A message that fills the outbox exactly is refused.'],
      ['    this.#bytes -= countBytes(entry)\n    return true', '    return true', 'The bytes of confirmed messages count for ever.'],
      ['this.all.has(entry.id) || ', '', 'A message is added twice.'],
    ],
  ),
  ...forTests(
    'src/client/delivery/reach.ts',
    ['test/client/delivery/reach.test.ts'],
    [
      [
        'if (before !== undefined && !isOver(before.until, now, MOST_BLOCKED)) return\n',
        '',
        'Requests that fail together count as several failures.',
      ],
      ['now - before.reachedAt > HELD_MS', 'now - before.reachedAt > 0', 'A relay that cuts connections is tried without longer pauses.'],
      ['if (REFUSALS.includes(block.code)) return block.code', '', 'A user in a hurry ignores the pause that a relay asked for.'],
      ["if (code === 'mailbox-full') mailboxes", 'if (code) mailboxes', 'A receipt opens a mailbox that is closed to this user.'],
      ['this.failures(relay) < 2', 'this.failures(relay) < 1', 'A held message goes to the next relay at the first failure.'],
      ['until < now - OUTBOX.denied', 'until < now', 'A relay’s failures are forgotten as soon as its pause is over.'],
    ],
  ),
  ...forTests(
    'src/client/delivery/receipts.ts',
    ['test/client/delivery/receipts.test.ts'],
    [
      ['if (this.#count >= RECEIPTS.all) return', 'if (this.#count > RECEIPTS.all) return', 'One receipt too many waits.'],
      ['until > now && since <= now', 'until >= now && since <= now', 'Receipts leave a moment late.'],
      ['&& since <= now', '', 'A clock that is set back delays receipts.'],
      ['ids.size >= RECEIPTS.most', 'ids.size > RECEIPTS.most', 'A full message of receipts waits.'],
      ['      this.#count -= ids.size\n', '', 'Receipts that were sent still count.'],
      ['if (waiting.ids.has(id)) return\n', '', 'The same receipt counts twice.'],
    ],
  ),
  ...forTests(
    'src/client/delivery/seen.ts',
    ['test/client/delivery/seen.test.ts'],
    [
      [
        'this.#until.set(tag, Math.max(until, this.#until.get(tag) ?? 0))\n    this.#since',
        'this.#until.set(tag, until)\n    this.#since',
        'A merge shortens the time for which a tag is kept.',
      ],
      ['this.#since = Math.max(this.#since, other.#since)', 'this.#since = other.#since', 'A merge moves `since` back.'],
      [
        'else seen.#until.set(tag, Math.max(until, seen.#until.get(tag) ?? 0))',
        'else seen.#until.set(tag, until)',
        'A later line shortens the time of a tag.',
      ],
      ['if (this.#since <= now) return false', 'if (this.#since < now) return false', 'A clock that is right is corrected.'],
      ['if (until < now) this.#drop', 'if (until <= now) this.#drop', 'A tag is forgotten a second early.'],
      ['this.#until.size <= this.#most) return', 'this.#until.size < this.#most) return', 'The oldest tags go before there are too many.'],
      ['until - KEPT + 1', 'until - KEPT', 'A message that was forgotten is genuine again.'],
      ['Math.min(until - KEPT + 1, Math.floor(now))', 'until - KEPT + 1', 'A message that is dated ahead makes all others stale.'],
      ['concat(from.fingerprint, encodeText(id))', 'encodeText(id)', 'Another sender’s message with the same id is a replay.'],
    ],
  ),
  ...forTests(
    'src/client/delivery/order.ts',
    ['test/client/delivery/order.test.ts'],
    [
      ['sender.count > ORDER.sender', 'sender.count >= ORDER.sender', 'A sender has one held message too few.'],
      ['this.#count > ORDER.all', 'false', 'Held messages have no bound.'],
      ['each.until <= now ||', 'each.until < now ||', 'A held message waits a moment too long.'],
      ['|| each.until > now + ORDER.hold', '', 'A clock that is set back holds messages for long.'],
      ['    remember(sender.missed, held.after)\n', '', 'A late message is not marked.'],
      ['held.item, true)', 'held.item, false)', 'A gap is not marked.'],
      ['        if (count === 0) {', '        if (true) {', 'A sender with held messages is forgotten.'],
      ['      this.#senders.delete(from)\n', '', 'The most active sender is forgotten first.'],
      ['.toSorted((one, other) => (one.time ?? 0) - (other.time ?? 0))', '', 'Messages that waited come in another order.'],
      ['    sender.count--\n    this.#count--', '    this.#count--', 'Released messages still count for their sender.'],
    ],
  ),
  ...forTests(
    'src/client/delivery/file.ts',
    ['test/client/delivery/file.test.ts'],
    [
      ['part < 1 || part > this.count', 'part < 1 || part > this.count + 1', 'A part behind the end of the file is accepted.'],
      ['hash === this.info.hash', 'true', 'A damaged file is accepted.'],
      [
        "this.#state === 'receiving' && part > 0 && !this.#parts.has(part)",
        "this.#state === 'receiving' && part > 0",
        'A part that came twice is written twice.',
      ],
      ['this.#flying.size < FILE.window', 'this.#flying.size <= FILE.window', 'One part too many is under way.'],
      ['ranges.length < HAVE_RANGES', 'ranges.length <= HAVE_RANGES', 'An answer has one range too many.'],
      ['|| this.#offerAt > now + FILE.offer[1]', '', 'A clock that is set back delays an offer for long.'],
      ['if (this.isSettled) return\n', '', 'A finished file is sent again.'],
      [
        "this.#state === 'receiving' ? this.#sink.close?.() : undefined",
        'this.#sink.close?.()',
        'A finished file is closed once more.',
        'Closing twice does nothing.',
      ],
    ],
  ),
  ...forTests(
    'src/client/delivery/backoff.ts',
    ['test/client/delivery/backoff.test.ts'],
    [
      ['Math.min(failures - 1, 10)', 'Math.min(failures, 10)', 'The first pause is twice as long.'],
      ['Math.min(seconds, 3_600)', 'seconds', 'A relay keeps a client away for as long as it likes.'],
      ['time <= now ||', 'time < now ||', 'A pause ends a moment late.'],
      ['time > now + most', 'time > now', 'Every pause is over at once.'],
    ],
  ),
  ...forTests(
    'src/client/messenger/inbox.ts',
    ['test/client/messenger/inbox.test.ts'],
    [
      [
        'if (here.copies.length < COPIES && ',
        'if (here.done === undefined && here.copies.length < COPIES && ',
        'A copy that arrives while done() stores its message is never acknowledged.',
      ],
      ['if (here.copies.length < COPIES && ', 'if (', 'Copies of a message have no bound.'],
      [
        'await this.#onDone(opened, from, copies)\n    this.#pending.delete(name)',
        'this.#pending.delete(name)\n    await this.#onDone(opened, from, copies)',
        'A copy that arrives while a message is being stored is shown again.',
      ],
      ['        (item.done ??= this', '        (item.done = this', 'A program that calls done() twice stores a message twice.'],
      ['          item.done = undefined\n', '', 'A message whose storing failed can never be done.'],
      [
        'for (const { incoming, id } of copies) incoming.ack(id)',
        'copies[0].incoming.ack(copies[0].id)',
        'Only one relay erases a message.',
      ],
      ['each.incoming === copy.incoming && each.id === copy.id', 'false', 'The same copy is acknowledged twice.'],
      ["from === undefined || content.type === 'file'", "content.type === 'file'", 'Messages of strangers are held back, and use memory.'],
    ],
  ),
  ...forTests(
    'src/client/messenger/doubt.ts',
    ['test/client/messenger/doubt.test.ts'],
    [
      ['all.length < WITNESSES', 'all.length < 1', 'One contact with a wrong clock is believed.'],
      ['all.some((fault) => fault.off !== off)', 'false', 'Contacts who disagree are believed.'],
      ['time > now + FUTURE', 'time >= now + FUTURE', 'A message at the edge counts as a fault.'],
      ['      this.#told = undefined\n', '', 'A second fault is not reported.'],
    ],
  ),
  ...forTests(
    'src/client/wire/proof.ts',
    ['test/client/wire/proof.test.ts'],
    [
      [
        'if (this.isBeginning) this.#connection.end(error)',
        '',
        'A refused login counts as a refusal of the message behind it.',
        'The caller ends the connection, too, at present before the message fails.',
      ],
      ['      login.isAwaited = true\n', '', 'A short message overtakes a long one during a login.'],
      ['NAMED.includes(name) || ', '', 'A bundle does not wait for the TOKEN.'],
      [' || this.#connection.session.limits.labels === 0', '', 'A message to a relay without labels leaves under a label.'],
      ['asked.isLong !== true && ', '', 'A long line leaves before a proof.'],
      ['(isEarly && asked.isEarly === true)', 'asked.isEarly === true', 'A token leaves early to a host that nothing authenticates.'],
      ['(isEarly && asked.isEarly === true)', 'isEarly', 'A plain GET leaves before the connection stands.'],
      ['    while (this.#testing !== undefined) await this.#testing\n', '', 'All requests test the token at once.'],
      ['      if (!isBadToken(error)) throw error\n      this.#kept', '      this.#kept', 'Any refusal counts as one of the token.'],
      ["this.#write(asked, undefined, '')", 'this.#write(asked)', 'A request behind VERIFY leaves under the former token.'],
    ],
  ),
  ...forTests(
    'src/client/wire/connection.ts',
    ['test/client/wire/connection.test.ts', 'test/client/wire/client.test.ts'],
    [
      ['if (this.#ended !== undefined) return\n    this.#ended', 'this.#ended', 'A connection ends twice.'],
      [
        '    clearTimeout(this.#timer)\n    this.session.onEnd()',
        '    this.session.onEnd()',
        'The timer of an ended connection goes on.',
        'The end that it brings does nothing.',
      ],
      [
        'for (const { reject } of this.#waiting.splice(0)) reject(this.#ended.error)',
        '',
        'Open requests of an ended connection wait for ever.',
      ],
      [
        '        this.#waiting.shift()!.reject(error)\n',
        '        this.#waiting.pop()!.reject(error)\n',
        'A refusal goes to the newest request.',
      ],
      ['!this.#isEarly && ', '', 'A request runs out of time before the relay is reached.'],
    ],
  ),
  ...forTests(
    'src/client/format/signed.ts',
    ['test/client/format/unverifiable.test.ts'],
    [
      [
        'if (error instanceof MissingCryptoError) return undefined',
        'if (true) return undefined',
        'A signature whose verification failed counts as not checked.',
        '`verifySignature` throws no other error.',
      ],
    ],
  ),
  ...forTests(
    'src/cli/chat/model.ts',
    ['test/cli/chat/model.test.ts'],
    [
      [
        "edit(editor, 'delete', 0)",
        "edit(editor, 'delete', 1)",
        'Ctrl+D deletes by another width.',
        'Only moves between rows need the width.',
      ],
      ['text: showText(input.text), top: 0', 'text: showText(input.text), top: 1', 'A long text is shown from its second line.'],
    ],
  ),
  ...forTests(
    'src/client/ring/text.ts',
    ['test/client/ring/text.test.ts'],
    [
      [
        'if (at === -1) refuse()',
        'if (at === -2) refuse()',
        'A line without a colon is read.',
        'Its name or its values are refused: the values then contain letters of the name.',
      ],
    ],
  ),
  ...forTests(
    'src/client/messenger/outgoing.ts',
    ['test/client/messenger/outgoing.test.ts'],
    [['\n      .finally(() => this.#connected)', '', 'The first message after a long silence is sent twice.']],
  ),
  ...forTests(
    'src/client/messenger/channel.ts',
    ['test/client/messenger/channel.test.ts'],
    [['this.#queue.length > this.#most', 'this.#queue.length >= this.#most', 'A queue drops its oldest value before it is full.']],
  ),
  ...forTests(
    'src/cli/chat/plain.ts',
    ['test/cli/chat/plain.test.ts'],
    [['    this.#stdin.pause()\n', '    \n', 'The input is still read after the end.', 'The end of the lines pauses it, too.']],
  ),
  ...forTests(
    'src/cli/commands/admit.ts',
    ['test/cli/commands/admit.test.ts'],
    [
      [
        'await writeWhole(path, after, { replace: false })',
        'await writeWhole(path, after, { replace: true })',
        'A list that another program made meanwhile is overwritten.',
        'It needs another program between two statements.',
      ],
    ],
  ),
  ...forTests(
    'src/cli/talk/arrival.ts',
    ['test/cli/talk/arrival.test.ts'],
    [
      [
        'flags | constants.O_NOFOLLOW | constants.O_NONBLOCK',
        'flags | constants.O_NONBLOCK',
        'A resumed transfer writes through a symbolic link.',
      ],
      ['flags | constants.O_NOFOLLOW | constants.O_NONBLOCK', 'flags | constants.O_NOFOLLOW', 'A resumed transfer waits for a pipe.'],
      ['&& nlink === 1 &&', '&&', 'A resumed transfer writes to a file that has a second name.'],
      ['mode === (constants.S_IFREG | 0o600) && ', '', 'A resumed transfer writes to a file that others may change.'],
      ['number === 1 ? name', 'true ? name', 'A taken name is tried without an end.', 'The test would try for ever.'],
      ['if (!isFileName(offer.name)) return undefined', '', 'A file is written outside of its folder.'],
      [
        '          await file.datasync()\n',
        '',
        'A crash leaves a hole that is recorded as a part.',
        'Only a crash of the machine shows it.',
      ],
      ['placed.dev === checked.dev && placed.ino === checked.ino', 'true', 'Another user’s file gets the name of the checked one.'],
      [
        'if (all.size < UNFINISHED || all.has(base)) return',
        'if (all.size < UNFINISHED) return',
        'A transfer that resumes removes another one.',
      ],
      ['idle = [...all].filter((each) => !this.#open.has(each))', 'idle = [...all]', 'A file that is being received is removed.'],
      ['lines.slice(0, -1).map(Number)', 'lines.map(Number)', 'Half a number is taken for a part.'],
      [
        'part >= 1 && part <= countParts(offer.total)',
        'part >= 1',
        'A part behind the end of the file is recorded.',
        'The parts of a file ignore it, too.',
      ],
      [
        'Buffer.byteLength(build()) > FILE_NAME_BYTES',
        'build().length > FILE_NAME_BYTES',
        'A name with a number is longer than a file system allows.',
      ],
    ],
  ),
  ...forTests(
    'src/profile/entry.ts',
    ['test/profile/entry.test.ts'],
    [
      ["normalize('NFKC')", "normalize('NFC')", 'Names that are equal only after NFKC are two names.'],
      ['dropHidden(name.normalize', '(name.normalize', 'Names that differ in a joiner are two names.'],
      [').toLowerCase()', ')', 'Names that differ in case are two names.'],
      ['[...name].length > 64', '[...name].length > 63', 'The longest name is refused.'],
      ['encodeText(name).length > NAME_BYTES', 'encodeText(name).length >= NAME_BYTES', 'A name of exactly 200 bytes is refused.'],
      ['plain.lastIndexOf(LAST_LINE)', 'plain.indexOf(LAST_LINE)', 'A signed text that contains a signature ends too soon.'],
    ],
  ),
]
