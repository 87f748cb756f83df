"""Builds the IRC gateway. Only servers with IRC import this module."""

from ipaddress import ip_network
from typing import TYPE_CHECKING

from kiai.faces.irc.channels import ChannelCommands
from kiai.faces.irc.commands import Commands
from kiai.faces.irc.gateway import Certificate, IrcGateway, IrcLimits
from kiai.faces.irc.hub import Hub
from kiai.faces.irc.login import IrcLogin, WelcomeTexts
from kiai.faces.irc.names import names_of
from kiai.faces.irc.people import PeopleCommands
from kiai.faces.irc.talking import Talking
from kiai.multiplayer.rooms import MatchChannels
from kiai.version import VERSION

if TYPE_CHECKING:
    from kiai.app import Services


def build_irc(services: "Services") -> IrcGateway:
    """Build the IRC gateway. Raises Refused for an unreadable certificate."""
    settings, clock, realtime = services.settings, services.clock, services.realtime
    live = services.community.live_settings
    hub = Hub(realtime, services.presence, services.community.address_blocks.is_blocked)
    channels = ChannelCommands(
        hub,
        services.chat,
        services.channels,
        MatchChannels(realtime, services.match_history),
        realtime,
        clock,
        services.history,
        history_lines=settings.irc_history,
    )
    login = IrcLogin(
        lambda: WelcomeTexts(settings.title, live.current.welcome, VERSION),
        hub,
        channels,
        passwords=services.site.irc_passwords,
        relationships=services.relationships,
        presence=services.presence,
        limiter=services.limiter,
        clock=clock,
        ids=services.ids,
        limited=settings.rate_limits,
        is_chat_bot=services.site.chat_bots.is_one,
        under_maintenance=services.switches.under_maintenance,
    )
    talking = Talking(hub, channels, services.chat, services.silences, services.limiter, limited=settings.rate_limits)
    people = PeopleCommands(
        channels,
        services.channels,
        services.accounts,
        realtime,
        clock,
        bot_name=settings.bot_name,
        version=VERSION,
        online_count=services.live.online.public.count,
    )
    chain, key = settings.irc_tls_cert, settings.irc_tls_key
    return IrcGateway(
        hub,
        Commands(login, channels, talking, people),
        names_of(settings),
        clock,
        IrcLimits(
            settings.connections_max,
            settings.connections_per_address,
            tuple(ip_network(cidr) for cidr in settings.trusted_proxy),
        ),
        Certificate(chain, key) if settings.irc_tls and chain and key else None,
    )
