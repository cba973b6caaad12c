/**
 * The web page in Firefox ESR with the preferences of Tor Browser: one person opens the file, the other the page that a relay
 * runs at its onion address, through a SOCKS server in the place of tor.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { setTimeout as delay } from 'node:timers/promises'
import { chromium } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { parsePrivateKey } from '../../src/auth/private-key.ts'
import { PAGE_FILE } from '../../src/cli/relay/page-file.ts'
import * as node from '../../src/client/index.ts'
import { readPageFile } from '../../src/server/page-file.ts'
import { needs } from '../auth/openssh.ts'
import { type Firefox, type Level, startFirefox, type Tab } from '../support/firefox.ts'
import { FLAGS } from '../support/browser.ts'
import { beginAs, cardOf as linkOf, write } from '../support/page.ts'
import { findProgram, missing } from '../support/programs.ts'
import { startTestRelay, type TestRelay } from '../support/relay.ts'
import { type SocksServer, startSocksServer } from '../support/socks-server.ts'

const ONION = 'pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion'
const FILE = pathToFileURL(PAGE_FILE).href
const SERVED = `http://${ONION}/asfaleia.html`
/** Hosts that Firefox visits by itself. The SOCKS server refuses them. */
const OF_FIREFOX = /(?:^|\.)(?:mozilla\.(?:com|net|org)|firefox\.com|googleapis\.com)$/
const ENTER = '\uE007'

vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 })
beforeEach(needs('firefox-esr'))
const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

/** A relay at an onion address, and Firefox, which reaches it through a SOCKS server alone. */
interface World {
  readonly firefox: Firefox
  readonly socks: SocksServer
  relay: TestRelay
  kill(): Promise<void>
  restart(): Promise<void>
  close(): Promise<void>
}

async function startWorld(level: Level): Promise<World> {
  const page = readPageFile(PAGE_FILE)
  if (typeof page === 'string') throw new Error(`${PAGE_FILE} is ${page}: npm run build`)
  const start = (): Promise<TestRelay> =>
    startTestRelay({ names: [ONION, 'localhost'], http: true, memory: 2 ** 25, connections: 100, offer: { page, runs: true } })
  const portOf = ({ httpAddress }: TestRelay): number => Number(httpAddress!.split(':')[1])
  const relay = await start()
  const target = { to: portOf(relay), onionsOnly: true as const }
  const socks = await startSocksServer(target)
  const firefox = await startFirefox(level, socks.port)
  const world: World = {
    firefox,
    socks,
    relay,
    async kill() {
      await world.relay.kill()
      socks.cut()
    },
    async restart() {
      world.relay = await start()
      target.to = portOf(world.relay)
    },
    async close() {
      await firefox.close()
      await socks.close()
      await world.relay.close()
    },
  }
  return world
}

async function begin(tab: Tab, name: string): Promise<void> {
  // Served by a relay, the page shows this form at once, with the relay's address.
  await tab.evaluate("void (document.querySelector('details').open = true)")
  await tab.fill('Your name', name)
  await tab.fill('The address of your relay', ONION)
  await tab.click('button', 'Make a new identity')
  await tab.waitFor('Connected')
}

async function cardOf(tab: Tab): Promise<string> {
  await tab.click('button', 'My card')
  return tab.valueOf('The card as a link')
}

async function say(tab: Tab, to: string, text: string): Promise<void> {
  await tab.fill(`Write to ${to}`, text)
  await tab.type(ENTER)
}

/** Opens the conversation with a person in the list. Its button also names the last message. */
const open = (tab: Tab, name: string): Promise<void> => tab.clickText('button.person', name)

async function wordsOf(tab: Tab): Promise<string> {
  await tab.click('button', 'Verify')
  await tab.click('button', 'Show the words')
  await tab.waitForNode('ol.words')
  return tab.evaluate("[...document.querySelectorAll('ol.words li')].map((item) => item.textContent).join(' ')")
}

describe.each(['Standard', 'Safer'] as const)('at the level %s', (level) => {
  let world: World
  let alice: Tab
  let bob: Tab
  beforeAll(async () => {
    if (missing('firefox-esr') === undefined) world = await startWorld(level)
  })
  afterAll(() => world?.close())

  test('the file and the page of the relay are secure contexts, and each says what it trusts', async () => {
    alice = await world.firefox.open(FILE)
    bob = await world.firefox.open(SERVED)
    for (const tab of [alice, bob]) expect(await tab.evaluate('`${isSecureContext} ${typeof crypto.subtle}`')).toBe('true object')
    await alice.waitFor('This page is a file of yours.')
    await bob.waitFor('This page came from the relay.')
  })

  test('two people exchange a card, a request, messages and receipts', async () => {
    await begin(alice, 'Alice')
    await begin(bob, 'Bob')
    const card = await cardOf(bob)
    await alice.click('button', 'Add a person')
    await alice.fill('The link of their card', card)
    await alice.click('button', 'Add')
    await say(alice, 'Bob', 'Hello from a file.')
    await alice.waitFor(/Held|Delivered/)
    await open(bob, 'Alice')
    await bob.waitFor('Hello from a file.')
    await bob.click('button', 'Accept')
    await say(bob, 'Alice', 'Hello from the relay.')
    await alice.waitFor('Hello from the relay.')
    await bob.waitFor(/Delivered/i)
    await alice.waitFor(/Delivered/i)
    expect(world.relay.relay.snapshot().messages).toBe(0)
  })

  test('texts that look like HTML, control the terminal or reorder text are shown as text', async () => {
    const hostile = `<img src=x onerror="document.title='taken'"><script>document.title='taken'</script> \u202Eexe.txt \u001B[31mred`
    await say(alice, 'Bob', hostile)
    await bob.waitFor('<img src=x')
    expect(await bob.evaluate("`${document.title} ${document.querySelectorAll('article img, article script').length}`")).toMatch(
      /Asfaleia 0$/,
    )
    expect(await bob.text()).not.toContain('\u202E')
  })

  test('both see the same safety words', async () => {
    const words = await wordsOf(alice)
    expect(words.split(' ')).toHaveLength(12)
    expect(await wordsOf(bob)).toBe(words)
    await alice.click('button', 'They are equal')
    await alice.waitFor('You compared the words')
    for (const tab of [alice, bob]) await tab.click('button', 'Back to the conversation')
  })

  // Without JIT each part of a file takes half a second.
  test(`a file of ${level === 'Safer' ? '128 KiB' : '1 MiB'} arrives whole, and is saved`, async () => {
    const bytes = randomBytes(level === 'Safer' ? 2 ** 17 : 2 ** 20)
    const path = join(world.firefox.downloads, '..', 'a report.bin')
    writeFileSync(path, bytes)
    await alice.choose('input[type=file]', [path])
    await bob.waitFor('a report.bin')
    await bob.click('button', 'Accept')
    await bob.waitFor('Complete and undamaged')
    await alice.waitFor('They have the whole file')
    await bob.click('button', 'Save')
    for (let tries = 0; tries < 100; tries++) {
      const saved = readdirSync(world.firefox.downloads).filter((name) => !name.endsWith('.part'))
      if (saved.length > 0 && readFileSync(join(world.firefox.downloads, saved[0]!)).equals(bytes)) break
      await delay(100)
    }
    const [saved = ''] = readdirSync(world.firefox.downloads)
    expect(saved).toMatch(/report.*\.bin$/)
    expect(readFileSync(join(world.firefox.downloads, saved)).equals(bytes)).toBe(true)
  })

  test('the page says that its relay is gone, and goes on when the relay is back', async () => {
    await world.kill()
    await alice.waitFor('Offline')
    await say(alice, 'Bob', 'Written without a relay.')
    await world.restart()
    for (const tab of [alice, bob])
      await tab.evaluate("void document.querySelectorAll('.connection button').forEach((button) => button.click())")
    await bob.waitFor('Written without a relay.')
    await alice.waitFor('Connected')
    expect(await alice.text()).not.toContain('Offline')
  })

  test('a message opens within 100 ms, as the median over 50', async () => {
    const carol = node.identityOf(parsePrivateKey(Buffer.from(node.generatePrivateKey('').file)))
    const { link } = await node.makeCard(carol, { name: 'Carol', relays: [ONION], time: Math.floor(Date.now() / 1_000) })
    const theirs = await node.parseCard(await cardOf(bob))
    await bob.click('button', 'Add a person')
    await bob.fill('The link of their card', link)
    await bob.click('button', 'Add')
    await bob.waitForNode('textarea[aria-label="Write to Carol"]')
    // The time between two of many that arrive at once is the time to open, order and show one.
    await bob.evaluate(`void (() => {
      globalThis.times = []
      const seen = new WeakSet()
      new MutationObserver(() => {
        for (const item of document.querySelectorAll('article.them')) {
          if (seen.has(item) || !/burst \\d+/.test(item.textContent)) continue
          seen.add(item)
          times.push(performance.now())
        }
      }).observe(document.body, { childList: true, subtree: true })
    })()`)
    const contact = { ...node.contactOf(theirs), relays: [world.relay.address] }
    const messenger = node.openMessenger({ identity: carol, relays: [world.relay.address], contacts: node.contactsOf([contact]) })
    try {
      for (let n = 0; n < 50; n++) messenger.send(contact, { type: 'text', text: `burst ${n}` })
      await bob.waitFor('burst 49')
    } finally {
      await messenger.close()
    }
    const gaps = (await bob.evaluate<string>("times.slice(1).map((time, at) => time - times[at]).join(' ')")).split(' ').map(Number)
    expect(gaps).toHaveLength(49)
    expect(gaps.toSorted((a, b) => a - b)[25]).toBeLessThan(100)
  })

  test('nothing went to another place than the relay, and no policy was violated', async () => {
    expect(world.firefox.faults.filter((text) => /content.?security|refused|blocked/i.test(text))).toEqual([])
    const hosts = new Set(world.socks.requests.map(({ host }) => host).filter((host) => !OF_FIREFOX.test(host)))
    expect([...hosts]).toEqual([ONION])
  })
})

test('a pair of browsers: Chromium has the file, and Firefox at Safer the page of the relay', async (ctx) => {
  const reason = missing('chromium')
  if (reason !== undefined) ctx.skip(reason)
  const world = await startWorld('Safer')
  closers.push(() => world.close())
  const browser = await chromium.launch({
    executablePath: findProgram('chromium')!,
    args: [...FLAGS, `--proxy-server=socks5://127.0.0.1:${world.socks.port}`],
  })
  closers.push(() => browser.close())
  const alice = await (await browser.newContext()).newPage()
  await alice.goto(FILE)
  await beginAs(alice, 'Alice')
  const bob = await world.firefox.open(SERVED)
  await begin(bob, 'Bob')
  await bob.click('button', 'Add a person')
  await bob.fill('The link of their card', await linkOf(alice))
  await bob.click('button', 'Add')
  await say(bob, 'Alice', 'Hello from Firefox.')
  await alice.locator('button.person', { hasText: 'Bob' }).click()
  await alice.getByText('Hello from Firefox.').first().waitFor()
  await alice.getByRole('button', { name: 'Accept' }).click()
  await write(alice, 'Hello from Chromium.')
  await bob.waitFor('Hello from Chromium.')
  await alice
    .getByText(/Delivered|Read/)
    .first()
    .waitFor()
  const words = await wordsOf(bob)
  await alice.getByRole('button', { name: 'Verify' }).click()
  await alice.getByRole('button', { name: 'Show the words' }).click()
  await alice.locator('ol.words li').first().waitFor()
  expect((await alice.locator('ol.words li').allTextContents()).join(' ')).toBe(words)
})

describe('at the level Safest', () => {
  test('the page explains that it needs JavaScript', async () => {
    const world = await startWorld('Safest')
    try {
      for (const url of [FILE, SERVED]) {
        const tab = await world.firefox.open(url)
        // A browser that runs scripts reads the content of `noscript` as a text.
        expect(await tab.has('//noscript//p[contains(., "needs JavaScript")]')).toBe(true)
        expect(await tab.has('//*[@id="app"]/*')).toBe(false)
      }
      const tab = await world.firefox.open(`http://${ONION}/`)
      expect(await tab.has('//a[contains(., "Use it here, and trust this relay")]')).toBe(true)
    } finally {
      await world.close()
    }
  })
})
