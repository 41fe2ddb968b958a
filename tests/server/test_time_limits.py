"""The time limits in production, which fit the platform's."""

from app.server.server import Server, TimeLimits


def test_they_fit_those_of_the_router_and_of_the_platform(app):
    """Heroku's router gives a request up after 30 s and keeps a connection for 90 s."""
    limits = TimeLimits()
    assert limits == (20, 25, 95, 60, 5)
    assert limits.body < 30
    assert limits.idle > 90
    assert Server(app, None, None).limits == limits
    assert Server(app, None, None, TimeLimits(idle=7)).limits.idle == 7
