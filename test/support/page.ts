/**
 * The web page in Debian's Chromium, as a file, with Tor's part played by a SOCKS server on loopback: every `….onion`
 * leads to one relay in this process.
 */
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { findProgram } from './programs.ts'
import { startTestRelay, type TestRelay } from './relay.ts'
import { startSocksServer } from './socks-server.ts'

const ROOT = join(import.meta.dirname, '../..')
export const PAGE_FILE = join(ROOT, 'dist/page/asfaleia.html')
export const ONION = 'pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion'

/** As for other pages of the tests: no host of Google, and no sandbox, so that it runs as root. */
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

export interface PageWorld {
  readonly browser: Browser
  /** The relay that answers now. */
  relay(): TestRelay
  /** Opens the page with a memory of its own. */
  open(options?: BrowserContextOptions, url?: string): Promise<Page>
  /** Leads every onion name to another port. @returns a function that leads back to the relay */
  lead(port: number): () => void
  /** Kills the relay: all its messages are lost. */
  kill(): Promise<void>
  /** Starts a relay of the same name. */
  restart(): Promise<void>
  /** What the pages reported: errors, violations of the policy, texts on the console. */
  readonly faults: string[]
  close(): Promise<void>
}

export async function startPageWorld(): Promise<PageWorld> {
  if (!existsSync(PAGE_FILE)) throw new Error(`${PAGE_FILE} is missing: run npm run build first`)
  const start = (): Promise<TestRelay> => startTestRelay({ names: [ONION, 'localhost'], http: true, memory: 2 ** 25, connections: 100 })
  let relay = await start()
  const portOf = ({ httpAddress }: TestRelay): number => Number(httpAddress!.split(':')[1])
  const target = { to: portOf(relay) }
  const socks = await startSocksServer(target)
  const browser = await chromium.launch({
    executablePath: findProgram('chromium')!,
    args: [...FLAGS, `--proxy-server=socks5://127.0.0.1:${socks.port}`],
  })
  const faults: string[] = []
  return {
    browser,
    relay: () => relay,
    faults,
    async open(options = {}, url = pathToFileURL(PAGE_FILE).href) {
      const context = await browser.newContext({ acceptDownloads: true, ...options })
      const page = await context.newPage()
      page.on('pageerror', (error) => faults.push(String(error)))
      page.on('console', (message) => {
        // A relay that cannot be reached is a part of the tests.
        if (!/WebSocket connection to|ERR_/.test(message.text())) faults.push(message.text())
      })
      await page.addInitScript(
        "document.addEventListener('securitypolicyviolation', (event) => console.error('violation', event.violatedDirective, event.blockedURI))",
      )
      await page.goto(url)
      return page
    },
    lead(port) {
      target.to = port
      return () => {
        target.to = portOf(relay)
      }
    },
    async kill() {
      await relay.kill()
      socks.cut()
    },
    async restart() {
      relay = await start()
      target.to = portOf(relay)
    },
    async close() {
      await browser.close()
      await socks.close()
      await relay.close()
    },
  }
}

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

/** Runs axe-core. @returns its violations that are serious or critical */
export async function violationsOf(page: Page): Promise<string[]> {
  await page.evaluate(AXE)
  return page.evaluate(async () => {
    const { axe } = globalThis as unknown as {
      axe: {
        run(options: object): Promise<{ violations: { id: string; impact: string; nodes: { html: string; failureSummary: string }[] }[] }>
      }
    }
    const { violations } = await axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })
    return violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join(' | ')}`)
  })
}

/** Makes a new identity on the first screen. */
export async function beginAs(page: Page, name: string): Promise<void> {
  await page.getByText('I have neither').click()
  await page.getByLabel('Your name').fill(name)
  await page.getByLabel('The address of your relay').fill(ONION)
  await page.getByRole('button', { name: 'Make a new identity' }).click()
  await page.getByText('Connected').waitFor()
}

/** Returns the link of the user's card. */
export async function cardOf(page: Page): Promise<string> {
  await page.getByRole('button', { name: 'My card' }).click()
  return page.getByLabel('The card as a link').inputValue()
}

/** Writes a message in the open conversation. */
export async function write(page: Page, text: string): Promise<void> {
  await page.getByRole('textbox', { name: /^Write to/ }).fill(text)
  await page.getByRole('button', { name: 'Send', exact: true }).click()
}
