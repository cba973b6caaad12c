/** `asfaleia invite`: makes a member of a closed relay, and prints the link by which the newcomer joins it. */
import { formatInvite } from '../../client/format/invite.ts'
import { readCommandLine } from '../program/arguments.ts'
import { CliError, UsageError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { drawCode } from '../program/qr.ts'
import { formatJson } from '../program/show.ts'
import type { Page } from '../program/page.ts'
import { readIntroduction } from '../profile/introduction.ts'
import { formatOnionKey } from '../profile/onions.ts'
import { findService, SERVICE_OPTION } from '../service/folder.ts'
import { addMember, checkMemberName, writeKeyFile } from '../service/members.ts'
import { CONTROL_OPTION, findControl, tellTor } from '../service/reload.ts'
import { parseUntil } from '../service/until.ts'

export const page = {
  name: 'invite',
  words: ['NAME'],
  options: {
    until: { value: 'DATE', about: 'the last day of the membership, such as 2027-01-31 (UTC), or a time from now, such as 30d' },
    card: { value: 'CARD', about: 'your contact card, as a link or in a file: the first contact of the newcomer' },
    out: {
      value: 'FILE',
      about: "write the key to a new FILE as tor's ClientOnionAuthDir takes it, NAME.auth_private, instead of printing a link",
    },
    qr: { about: 'print a QR code of the link, too' },
    ...SERVICE_OPTION,
    ...CONTROL_OPTION,
    json: { about: 'print one JSON object' },
  },
  text: `
    Lets one more person find the onion service, and prints a link for them: \`asfaleia join LINK\` does the rest. The link contains a
    private key, which this machine stores nowhere. Hand it over as you would a password. One link is for one person: tor cannot tell two
    people apart who use the same one.

    With the first invite the service becomes closed: only members can find it. If a membership has a last day, \`asfaleia member expire\`
    ends it; run that command once a day. (In the appliance, tor's container ends it.)`,
  examples: [
    ['invite Alice', 'asfaleia invite alice'],
    ['invite Bob for a month, with your card', 'asfaleia invite bob --until 30d --card my.card'],
  ],
} as const satisfies Page

export async function run(argv: string[], io: Io): Promise<number> {
  const given = readCommandLine(argv, io, page)
  if (given === undefined) return EXIT.ok
  const { values, words, hint } = given
  const name = checkMemberName(words[0])
  const until = values.until === undefined ? undefined : parseUntil(values.until, Date.now())
  const control = findControl(values['tor-control'], io, hint)
  const { out } = values
  if (out !== undefined && (values.card !== undefined || values.qr === true))
    throw new UsageError('--out does not go together with --card or --qr, which are about the link', { hint })
  const card = values.card === undefined ? undefined : await readCardLink(values.card, io)
  const folder = findService(values.service, io)
  const { address, key, keep, undo } = await addMember(folder, name, until, io)
  let link: string
  let code: string
  try {
    link = formatInvite({
      relay: address,
      key,
      name,
      ...(until !== undefined && { until: until / 1_000 }),
      ...(card !== undefined && { card }),
    })
    code = values.qr === true ? `\n${await drawCode(link, io)}\n` : ''
    if (out !== undefined) await writeKeyFile(out, formatOnionKey({ address, key }))
  } catch (error) {
    await undo()
    throw error
  }
  await keep()
  if (out === undefined) io.stdout.write(values.json === true ? `${formatJson({ name, link })}\n` : `${link}\n${code}`)
  await tellTor(control, io)
  return EXIT.ok
}

async function readCardLink(word: string, io: Io): Promise<string> {
  const given = await readIntroduction(word, io)
  if (given.kind === 'card') return given.card.link
  throw new CliError('--card: this is a key, and not a contact card', { hint: '`asfaleia me --link` prints your card' })
}
