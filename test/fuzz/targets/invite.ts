import { base32nopad } from '@scure/base'
import { sha256 } from '../../../src/auth/crypto.ts'
import { encodeText } from '../../../src/client/format/field.ts'
import { formatInvite, InviteError, parseInvite } from '../../../src/client/format/invite.ts'
import { NOW, ONION } from '../people.ts'
import { attempt, same, type Target, utf8 } from '../target.ts'

const invite = { relay: ONION, key: 'A'.repeat(52), name: 'Bob B.' }

/** After a NUL the input is a link to which the target adds the right check. */
export const target: Target = {
  name: 'invite',
  covers: ['client/format/invite.ts', 'client/format/field.ts'],
  longest: 2_000,
  seeds() {
    const links = [invite, { ...invite, until: NOW }, { ...invite, card: 'asfaleia:card/2:name=x' }].map(formatInvite)
    return [...links, ...links.map((link) => `\0${link.slice(0, link.lastIndexOf(','))}`), `Hello > ${links[0]}\n> bye`]
  },
  run(input) {
    let text = utf8(input[0] === 0 ? input.subarray(1) : input)
    if (input[0] === 0) {
      const check = base32nopad.encode(sha256(encodeText(text)).subarray(0, 5))
      text = `${text},check=${check.toLowerCase()}`
    }
    const parsed = attempt(
      () => parseInvite(text),
      (error) => error instanceof InviteError,
    )
    if (!('value' in parsed)) return parsed.refused
    const link = formatInvite(parsed.value)
    same('written and read', JSON.stringify(parseInvite(link)), JSON.stringify(parsed.value))
    return `invite of ${Object.keys(parsed.value).length}`
  },
}
