import { makeCard } from '../../../src/client/format/card.ts'
import { encodeText, fingerprintOf } from '../../../src/client/format/field.ts'
import { compareGroups, GroupError, makeGroup, makeGroupId, parseGroup } from '../../../src/client/format/group.ts'
import { sign } from '../../../src/client/format/signed.ts'
import { alice, bob, NOW, ONION } from '../people.ts'
import { attemptLater, fail, same, type Target, utf8 } from '../target.ts'

/** After a NUL the input is the text of a group that Alice signs, otherwise a group. */
export const target: Target = {
  name: 'group',
  covers: ['client/format/group.ts', 'client/format/signed.ts'],
  async seeds() {
    const members = await Promise.all([alice, bob].map((each, n) => makeCard(each, { name: `n${n}`, relays: [ONION], time: NOW })))
    const { text } = await makeGroup(alice, { id: makeGroupId(alice.key), name: 'Friends', version: 1, time: NOW, members })
    const signed = text.slice(0, text.indexOf('-----BEGIN'))
    return [Buffer.from(text), Buffer.from(`\0${signed}`), Buffer.from(`\0${signed.replace(/id: .*/, `id: ${'A'.repeat(21)}Q`)}`)]
  },
  async run(input) {
    const isSigned = input[0] === 0
    let text = utf8(isSigned ? input.subarray(1) : input)
    if (isSigned) text = utf8(await sign(alice, 'asfaleia-group', encodeText(text.endsWith('\n') ? text : `${text}\n`)))
    const parsed = await attemptLater(
      () => parseGroup(text),
      (error) => error instanceof GroupError,
    )
    if (!('value' in parsed)) return parsed.refused
    const group = parsed.value
    same('the text', group.text, text)
    if (isSigned && fingerprintOf(group.maker) !== fingerprintOf(alice.key)) fail('a group of another maker')
    if (compareGroups(group, group).kind !== 'same') fail('a group differs from itself')
    return 'a group'
  },
}
